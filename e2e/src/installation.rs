//! `deploy/` on the control plane under test: its manifests as they are, with an overlay for what a machine without
//! kube-proxy must have otherwise. Nothing of `deploy/` is edited.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    ADAPTER_NAME, adapter::Adapter, certificates::write, control_plane::ControlPlane, kubectl::Kubectl, programs,
};

/// The kustomize components of `deploy/` that hold APIServices.
pub const COMPONENTS: [&str; 2] = ["custom", "external"];

/// The APIServices of those components.
pub const API_SERVICES: [&str; 3] =
    ["v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"];

/// The overlays of one run, as folders for `kubectl apply -k`.
#[derive(Debug, Clone)]
pub struct Installation {
    /// A copy of `deploy/`, as it is.
    pub deploy: PathBuf,
    /// Everything but the APIServices.
    pub base: PathBuf,
    /// Everything that the default overlay of `deploy/` has.
    pub complete: PathBuf,
    /// What takes metrics.k8s.io, and nothing else.
    pub resource: PathBuf,
}

impl Installation {
    /// Copies `deploy/` into the run's folder and writes the overlays beside it.
    ///
    /// # Errors
    /// Fails when `deploy/` cannot be read or the folder cannot be written.
    pub fn prepare(control_plane: &ControlPlane, adapter: &Adapter) -> Result<Self> {
        let folder = control_plane.folder().join("installation");
        let deploy = folder.join("deploy");
        copy(&programs::repository().join("deploy"), &deploy)?;
        let components = COMPONENTS.map(|component| format!("../deploy/components/{component}"));
        let service = json!([
            { "op": "replace", "path": "/spec", "value": { "type": "ExternalName", "externalName": "localhost" } },
        ]);
        let base = overlay(
            &folder,
            "base",
            &json!({
                "resources": ["../deploy/base"],
                "patches": [patch("Service", Some(ADAPTER_NAME), &service)],
            }),
        )?;
        let complete = overlay(
            &folder,
            "complete",
            &json!({
                "resources": ["../base"],
                "components": components,
                "patches": [patch("APIService", None, &api_service(control_plane, adapter))],
            }),
        )?;
        let resource = overlay(
            &folder,
            "resource",
            &json!({
                "components": ["../deploy/components/resource"],
                "patches": [patch("APIService", None, &api_service(control_plane, adapter))],
            }),
        )?;
        Ok(Self { deploy, base, complete, resource })
    }

    /// Applies one overlay.
    ///
    /// # Errors
    /// Fails with kubectl's words when the API server refuses something.
    pub async fn apply(&self, kubectl: &Kubectl, overlay: &Path) -> Result<()> {
        kubectl.run(&["apply", "-k", &overlay.display().to_string()]).await?;
        Ok(())
    }

    /// Removes the APIServices, then everything else: in this order, or namespaces hang.
    ///
    /// # Errors
    /// Fails with kubectl's words when something stays.
    pub async fn remove(&self, kubectl: &Kubectl) -> Result<()> {
        let mut arguments = vec!["delete", "--wait=true", "apiservice"];
        arguments.extend(API_SERVICES);
        kubectl.run(&arguments).await?;
        kubectl.run(&["delete", "--wait=true", "--timeout=60s", "-k", &self.base.display().to_string()]).await?;
        Ok(())
    }
}

/// The aggregator dials `localhost` at this port, and verifies the Service's name against the run's own authority.
fn api_service(control_plane: &ControlPlane, adapter: &Adapter) -> Value {
    json!([
        { "op": "add", "path": "/spec/service/port", "value": adapter.balancer.port() },
        { "op": "add", "path": "/spec/caBundle", "value": base64(control_plane.authority().certificate.as_bytes()) },
        { "op": "add", "path": "/spec/insecureSkipTLSVerify", "value": false },
    ])
}

fn overlay(folder: &Path, name: &str, fields: &Value) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::create_dir_all(&path)?;
    write(&path, "kustomization.yaml", &fields.to_string())?;
    Ok(path)
}

fn patch(kind: &str, name: Option<&str>, operations: &Value) -> Value {
    let mut target = json!({ "kind": kind });
    if let (Some(name), Some(fields)) = (name, target.as_object_mut()) {
        fields.insert("name".to_owned(), Value::from(name));
    }
    json!({ "target": target, "patch": operations.to_string() })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))?;
    let mut found = false;
    for entry in entries {
        let entry = entry?;
        found = true;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    ensure!(found, "`{}` is empty", from.display());
    Ok(())
}

/// The bytes as JSON has them in Kubernetes.
fn base64(bytes: &[u8]) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap_or_default()
}
