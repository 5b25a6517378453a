//! `cargo xtask control-plane up`: one control plane, until Ctrl-C.

use anyhow::Result;
use e2e::control_plane::ControlPlane;

#[tokio::main]
async fn main() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let admin = control_plane.admin()?;
    println!("a control plane is up; Ctrl-C stops it and removes its folder\n");
    println!("export KUBECONFIG={}", admin.kubeconfig.display());
    println!("kubectl get --raw /readyz?verbose");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
