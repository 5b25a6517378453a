//! etcd, kube-apiserver with the aggregation layer and RBAC, and kube-controller-manager with the HPA controller: real
//! programs on free loopback ports, with a folder of their own, gone when dropped.
//!
//! Never needs a container, a kubelet or kube-proxy: see [`crate::kubelet`] and [`crate::balancer`] for their stand-ins.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    ADAPTER_NAME, ADAPTER_NAMESPACE,
    certificates::{Authority, Identity, write, write_service_account_keys},
    eventually::eventually,
    kubectl::Kubectl,
    kubelet::Kubelet,
    process::{Frozen, Process, tail},
    programs, requests,
};

/// How long a program may take until it answers.
const START: Duration = Duration::from_secs(60);

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields drop in order: first the stand-in kubelet and the programs, then their folder.
    _kubelet: Kubelet,
    controllers: Option<Process>,
    controller_flags: Vec<String>,
    api_server: Option<Process>,
    api_server_flags: Vec<String>,
    etcd: Process,
    cluster: Cluster,
}

/// Where a cluster is and who may vouch for its users: everything but its processes.
#[derive(Debug)]
struct Cluster {
    folder: TempDir,
    authority: Authority,
    front_proxy: Authority,
    server: String,
}

/// A user of the cluster, by client certificate.
#[derive(Debug, Clone)]
pub struct User {
    /// A kubeconfig that is this user.
    pub kubeconfig: PathBuf,
}

impl ControlPlane {
    /// Starts everything and waits until the API server is ready.
    ///
    /// # Errors
    /// Fails when a program is missing or does not become ready; the end of its log is in the error.
    pub async fn start() -> Result<Self> {
        // kube uses the process-wide provider; a second installation of the same one is no harm.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let [etcd_port, peer_port, api_port, controllers_port] = free_ports()?;
        let cluster = Cluster::new(format!("https://127.0.0.1:{api_port}"))?;
        let mut etcd = start("etcd", &etcd_flags(cluster.path(), etcd_port, peer_port), cluster.path())?;
        let api_server_flags = api_server_flags(cluster.path(), etcd_port, api_port);
        let api_server = Some(start_api_server(&api_server_flags, &cluster).await.inspect_err(|_| {
            // Its end, if it has ended, explains everything else.
            let _ = etcd.ensure_running().inspect_err(|error| eprintln!("{error:#}"));
        })?);
        let admin = cluster.user("admin", &["system:masters"])?.client().await?;
        let manager = cluster.user("system:kube-controller-manager", &[])?;
        let controller_flags = controller_manager_flags(cluster.path(), &manager.kubeconfig, controllers_port);
        let controllers = Some(start("kube-controller-manager", &controller_flags, cluster.path())?);
        let kubelet = Kubelet::start(admin);
        Ok(Self { _kubelet: kubelet, controllers, controller_flags, api_server, api_server_flags, etcd, cluster })
    }

    /// Kills kube-apiserver without warning, as a node that loses power does; etcd stays.
    ///
    /// # Errors
    /// Fails when it cannot be signalled.
    pub async fn kill_api_server(&mut self) -> Result<()> {
        match self.api_server.take() {
            Some(running) => running.kill().await,
            None => Ok(()),
        }
    }

    /// Starts kube-apiserver again, with what etcd has, and waits until it is ready.
    ///
    /// # Errors
    /// Fails when it does not become ready; the end of its log is in the error.
    pub async fn revive_api_server(&mut self) -> Result<()> {
        self.api_server = Some(start_api_server(&self.api_server_flags, &self.cluster).await?);
        Ok(())
    }

    /// Ends kube-controller-manager and starts it again, with these flags beside its own.
    ///
    /// # Errors
    /// Fails when it cannot be ended or started.
    pub async fn restart_controllers(&mut self, flags: &[&str]) -> Result<()> {
        if let Some(running) = self.controllers.take() {
            running.kill().await?;
        }
        let all: Vec<String> =
            self.controller_flags.iter().cloned().chain(flags.iter().map(ToString::to_string)).collect();
        self.controllers = Some(start("kube-controller-manager", &all, self.folder())?);
        Ok(())
    }

    /// The process number of kube-apiserver.
    #[must_use]
    pub fn api_server_id(&self) -> Option<u32> {
        self.api_server.as_ref().and_then(Process::id)
    }

    /// The folder of this run: keys, kubeconfigs, logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.cluster.path()
    }

    /// Makes a user known by client certificate.
    ///
    /// # Errors
    /// Fails when the folder cannot be written.
    pub fn user(&self, name: &str, groups: &[&str]) -> Result<User> {
        self.cluster.user(name, groups)
    }

    /// The cluster's administrator.
    ///
    /// # Errors
    /// Fails when the folder cannot be written.
    pub fn admin(&self) -> Result<User> {
        self.user("admin", &["system:masters"])
    }

    /// The adapter's service account: a certificate stands in for the token file that a kubelet would project.
    ///
    /// # Errors
    /// Fails when the folder cannot be written.
    pub fn adapter_account(&self) -> Result<User> {
        let name = format!("system:serviceaccount:{ADAPTER_NAMESPACE}:{ADAPTER_NAME}");
        self.user(&name, &["system:serviceaccounts", &format!("system:serviceaccounts:{ADAPTER_NAMESPACE}")])
    }

    /// The authority of serving certificates and of client certificates that are users.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.cluster.authority
    }

    /// The authority whose clients may say who a request is from.
    #[must_use]
    pub fn front_proxy(&self) -> &Authority {
        &self.cluster.front_proxy
    }

    /// kubectl as a user.
    ///
    /// # Errors
    /// Fails when kubectl was not built.
    pub fn kubectl(&self, user: &User) -> Result<Kubectl> {
        Kubectl::new(&user.kubeconfig, self.folder())
    }

    /// Stops kube-apiserver from answering, until the returned guard is dropped: connections stay, and nothing comes.
    ///
    /// # Errors
    /// Fails when it cannot be signalled.
    pub fn freeze_api_server(&self) -> Result<Frozen<'_>> {
        self.api_server.as_ref().context("kube-apiserver does not run")?.freeze()
    }

    /// Stops etcd from answering, until the returned guard is dropped: kube-apiserver runs on, and has nothing to say.
    ///
    /// # Errors
    /// Fails when it cannot be signalled.
    pub fn freeze_etcd(&self) -> Result<Frozen<'_>> {
        self.etcd.freeze()
    }

    /// A client of some other server that the cluster's authority signed, such as one replica of the adapter.
    ///
    /// # Errors
    /// Fails when the folder cannot be written or the identity is malformed.
    pub async fn client_of(&self, port: u16, name: &str, identity: Option<&Identity>) -> Result<Client> {
        let server = format!("https://127.0.0.1:{port}");
        let stem = format!("direct-{port}-{}", identity.map_or("anonymous".to_owned(), fingerprint));
        self.cluster.kubeconfig(&stem, &server, Some(name), identity)?.client().await
    }

    /// The ends of all logs, to be shown when something failed.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut logs: Vec<PathBuf> = std::fs::read_dir(self.folder())
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        logs.iter().map(|log| format!("=== {}\n{}\n", log.display(), tail(log))).collect()
    }

    /// Keeps the folder after the run and tells where it is.
    pub fn keep_folder(&mut self) -> &Path {
        self.cluster.folder.disable_cleanup(true);
        self.cluster.path()
    }
}

impl User {
    /// An API client that is this user.
    ///
    /// # Errors
    /// Fails when the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.connect_timeout = Some(Duration::from_secs(10));
        // A 503 is an answer to be looked at, not a reason to ask again.
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }
}

impl Cluster {
    fn new(server: String) -> Result<Self> {
        let folder = TempDir::with_prefix("wasm-metrics-adapter-e2e-")?;
        let authority = Authority::new("kubernetes")?;
        let front_proxy = Authority::new("front-proxy-ca")?;
        write(folder.path(), "ca.crt", &authority.certificate)?;
        write(folder.path(), "front-proxy-ca.crt", &front_proxy.certificate)?;
        authority.server(&["localhost", "127.0.0.1", "kubernetes.default.svc"])?.write(folder.path(), "apiserver")?;
        front_proxy.client("front-proxy-client", &[])?.write(folder.path(), "front-proxy-client")?;
        write_service_account_keys(folder.path())?;
        Ok(Self { folder, authority, front_proxy, server })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn user(&self, name: &str, groups: &[&str]) -> Result<User> {
        let identity = self.authority.client(name, groups)?;
        self.kubeconfig(&format!("user-{}", name.replace(':', "-")), &self.server, None, Some(&identity))
    }

    /// Writes `STEM.kubeconfig`, in JSON, which is YAML as well.
    fn kubeconfig(
        &self,
        stem: &str,
        server: &str,
        tls_name: Option<&str>,
        identity: Option<&Identity>,
    ) -> Result<User> {
        let mut cluster = json!({ "server": server, "certificate-authority": self.path().join("ca.crt") });
        if let (Some(name), Some(fields)) = (tls_name, cluster.as_object_mut()) {
            fields.insert("tls-server-name".to_owned(), Value::from(name));
        }
        let mut user = json!({});
        if let Some(identity) = identity {
            identity.write(self.path(), stem)?;
            user = json!({
                "client-certificate": self.path().join(format!("{stem}.crt")),
                "client-key": self.path().join(format!("{stem}.key")),
            });
        }
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{ "name": "e2e", "cluster": cluster }],
            "users": [{ "name": "e2e", "user": user }],
            "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": "e2e" } }],
        });
        write(self.path(), &format!("{stem}.kubeconfig"), &kubeconfig.to_string())?;
        Ok(User { kubeconfig: self.path().join(format!("{stem}.kubeconfig")) })
    }
}

/// Ports that were free a moment ago. All are held until the last is known, so that they differ.
///
/// # Errors
/// Fails when the system has none left.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

async fn start_api_server(flags: &[String], cluster: &Cluster) -> Result<Process> {
    let mut api_server = start("kube-apiserver", flags, cluster.path())?;
    let admin = cluster.user("admin", &["system:masters"])?.client().await?;
    eventually("kube-apiserver is ready", START, async || {
        api_server.ensure_running()?;
        let ready = requests::get(&admin, "/readyz").await?;
        ensure!(ready.status.is_success(), "/readyz answered {}: {}", ready.status, ready.text());
        Ok(())
    })
    .await
    .with_context(|| api_server.log_tail())?;
    Ok(api_server)
}

fn start(program: &str, flags: &[String], folder: &Path) -> Result<Process> {
    Process::start(program, &programs::control_plane(program)?, flags, folder)
}

fn etcd_flags(folder: &Path, port: u16, peer_port: u16) -> Vec<String> {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        // A crash of the machine may lose this etcd: it holds nothing that outlives the run.
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ]
}

fn api_server_flags(folder: &Path, etcd_port: u16, port: u16) -> Vec<String> {
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // A loopback address may not be published as an endpoint of default/kubernetes.
        "--endpoint-reconciler-type=none".to_owned(),
        file("tls-cert-file", "apiserver.crt"),
        file("tls-private-key-file", "apiserver.key"),
        file("client-ca-file", "ca.crt"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        file("service-account-key-file", "sa.pub"),
        file("service-account-signing-key-file", "sa.key"),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--anonymous-auth=true".to_owned(),
        file("requestheader-client-ca-file", "front-proxy-ca.crt"),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        file("proxy-client-cert-file", "front-proxy-client.crt"),
        file("proxy-client-key-file", "front-proxy-client.key"),
        // So the aggregator dials the name of an ExternalName Service itself: there is no kube-proxy.
        "--enable-aggregator-routing=false".to_owned(),
    ]
}

fn controller_manager_flags(folder: &Path, kubeconfig: &Path, port: u16) -> Vec<String> {
    let kubeconfig_flag = |flag: &str| format!("--{flag}={}", kubeconfig.display());
    vec![
        kubeconfig_flag("kubeconfig"),
        kubeconfig_flag("authentication-kubeconfig"),
        kubeconfig_flag("authorization-kubeconfig"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--root-ca-file={}", folder.join("ca.crt").display()),
        format!("--service-account-private-key-file={}", folder.join("sa.key").display()),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        "--controllers=horizontal-pod-autoscaler-controller,deployment-controller,replicaset-controller,\
         serviceaccount-controller,garbage-collector-controller,namespace-controller,\
         clusterrole-aggregation-controller"
            .to_owned(),
        // A person waits 15 s and 5 min for these; a test need not.
        "--horizontal-pod-autoscaler-sync-period=1s".to_owned(),
        "--horizontal-pod-autoscaler-downscale-stabilization=1s".to_owned(),
        "--horizontal-pod-autoscaler-initial-readiness-delay=0s".to_owned(),
        "--horizontal-pod-autoscaler-cpu-initialization-period=0s".to_owned(),
    ]
}

/// Tells identities apart in file names: some letters of the middle of the certificate's signature.
fn fingerprint(identity: &Identity) -> String {
    let letters: String = identity.certificate.chars().filter(char::is_ascii_alphanumeric).collect();
    letters.chars().rev().skip(24).take(12).collect()
}
