//! `cargo xtask bench`: what a release build costs on a real control plane. Prints figures; fails on wrong answers alone.

mod measure;
mod plugins;
mod pods;

use anyhow::{Result, bail};
use e2e::{
    adapter::{Adapter, service_host},
    control_plane::{ControlPlane, User},
    installation::Installation,
    load::Connection,
};
use http::HeaderName;

/// What the scenarios share.
struct Bench {
    // The adapter ends before the control plane.
    adapter: Adapter,
    control_plane: ControlPlane,
    admin: User,
}

#[tokio::main]
async fn main() -> Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    if let Some(unknown) = names.iter().find(|name| !["plugins", "pods"].contains(&name.as_str())) {
        bail!("there is no scenario `{unknown}`; there are plugins and pods");
    }
    let mut bench = Bench::prepare().await?;
    if wanted("plugins") {
        plugins::run(&mut bench).await?;
    }
    if wanted("pods") {
        pods::run(&mut bench).await?;
    }
    Ok(())
}

impl Bench {
    /// The adapter is installed, and does not run yet.
    async fn prepare() -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        let adapter = Adapter::prepare(&control_plane).await?;
        let installation = Installation::prepare(&control_plane, &adapter)?;
        let admin = control_plane.admin()?;
        installation.apply(&control_plane.kubectl(&admin)?, &installation.base).await?;
        Ok(Self { adapter, control_plane, admin })
    }

    /// As the aggregator connects to an adapter, ours or the other.
    async fn connect(&self, port: u16) -> Result<Connection> {
        let identity = self.control_plane.front_proxy().client("front-proxy-client", &[])?;
        Connection::open(port, &service_host(), self.control_plane.authority(), &identity).await
    }
}

/// The headers of a request that the aggregator passes on for `user`.
fn headers(user: &str, groups: &[&str]) -> Vec<(HeaderName, String)> {
    let line = |name: &'static str, value: &str| (HeaderName::from_static(name), value.to_owned());
    let mut headers = vec![line("x-remote-user", user)];
    headers.extend(groups.iter().map(|group| line("x-remote-group", group)));
    headers.push(line("accept", "application/vnd.kubernetes.protobuf, */*"));
    headers
}

/// The headers of the HPA controller.
fn autoscaler() -> Vec<(HeaderName, String)> {
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
    headers("system:serviceaccount:kube-system:horizontal-pod-autoscaler", &groups)
}
