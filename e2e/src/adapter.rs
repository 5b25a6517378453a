//! Two replicas of the adapter as processes, behind one balanced port, the way their Deployment would run them.
//!
//! Each replica can also be asked directly, as the aggregator asks: with the front-proxy client certificate.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use kube::Client;

use crate::{
    ADAPTER_NAME, ADAPTER_NAMESPACE,
    balancer::Balancer,
    control_plane::{ControlPlane, free_ports},
    eventually::eventually,
    process::Process,
    programs,
    requests::{self, Answer},
};

/// How long a replica may take until it is ready: it compiles every plugin first.
const READY: Duration = Duration::from_secs(90);

/// How many replicas `deploy/` asks for.
pub const REPLICAS: usize = 2;

/// The running adapter.
pub struct Adapter {
    /// What the APIServices point at.
    pub balancer: Balancer,
    replicas: Vec<Replica>,
    /// Where a rolling update starts the next replica, before it stops an old one.
    surge: Replica,
}

/// One process of the adapter, or the place of one that is stopped.
pub struct Replica {
    number: usize,
    port: u16,
    process: Option<Process>,
    folder: PathBuf,
    kubeconfig: PathBuf,
    /// As the aggregator: its word on `X-Remote-User` is believed.
    trusted: Client,
    /// Without any certificate, as a probe or Prometheus.
    anonymous: Client,
}

impl Adapter {
    /// Chooses the ports and makes the serving certificate; no replica runs yet.
    ///
    /// # Errors
    /// Fails when no port can be had or the folder cannot be written.
    pub async fn prepare(control_plane: &ControlPlane) -> Result<Self> {
        let ports: [u16; REPLICAS + 1] = free_ports()?;
        let name = service_host();
        control_plane
            .authority()
            .server(&[&name, "localhost", "127.0.0.1"])?
            .write(control_plane.folder(), "adapter")?;
        let account = control_plane.adapter_account()?;
        let front_proxy = control_plane.front_proxy().client("front-proxy-client", &[])?;
        let mut replicas = Vec::new();
        for (number, port) in ports.into_iter().enumerate() {
            replicas.push(Replica {
                number,
                port,
                process: None,
                folder: control_plane.folder().to_owned(),
                kubeconfig: account.kubeconfig.clone(),
                trusted: control_plane.client_of(port, &name, Some(&front_proxy)).await?,
                anonymous: control_plane.client_of(port, &name, None).await?,
            });
        }
        let balancer = Balancer::start(&ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)))).await?;
        let surge = replicas.pop().context("there is a place more than there are replicas")?;
        Ok(Self { balancer, replicas, surge })
    }

    /// Starts one replica and takes it into service once it is ready; gives how long that took.
    ///
    /// # Errors
    /// Fails when it ends or is not ready in time; the end of its log is in the error.
    pub async fn start(&mut self, replica: usize) -> Result<Duration> {
        let place = self.replicas.get_mut(replica).context("there are two replicas: 0 and 1")?;
        let took = place.start().await?;
        self.balancer.set_in_service(place.number, true);
        Ok(took)
    }

    /// Replaces one replica as the Deployment of `deploy/` does (`maxSurge: 1`, `maxUnavailable: 0`): a new one starts with
    /// empty caches, is taken into service when it is ready, and only then the old one is taken out and ends by SIGTERM, at
    /// once and without the time that `preStop` would give. Gives how long the start took.
    ///
    /// # Errors
    /// Fails when the new one does not become ready, or the old one does not end with exit code 0.
    pub async fn roll(&mut self, replica: usize) -> Result<Duration> {
        let place = self.replicas.get_mut(replica).context("there are two replicas: 0 and 1")?;
        self.surge.forget_compiled()?;
        let took = self.surge.start().await?;
        self.balancer.set_in_service(self.surge.number, true);
        std::mem::swap(place, &mut self.surge);
        self.balancer.set_in_service(self.surge.number, false);
        self.surge.terminate().await?;
        Ok(took)
    }

    /// How many connections a replica was given so far.
    #[must_use]
    pub fn connections(&self, replica: usize) -> usize {
        self.replicas.get(replica).map_or(0, |replica| self.balancer.connections(replica.number))
    }

    /// Takes one replica out of service and ends it by SIGTERM, as deleting its pod would.
    ///
    /// # Errors
    /// Fails when it does not end, or not with exit code 0.
    pub async fn stop(&mut self, replica: usize) -> Result<()> {
        let place = self.replicas.get_mut(replica).context("there are two replicas: 0 and 1")?;
        self.balancer.set_in_service(place.number, false);
        place.terminate().await
    }

    /// Kills one replica without warning. The balancer notices by refused connections only.
    ///
    /// # Errors
    /// Fails when it cannot be signalled.
    pub async fn kill(&mut self, replica: usize) -> Result<()> {
        let place = self.replicas.get_mut(replica).context("there are two replicas: 0 and 1")?;
        match place.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// All replicas, to be asked directly.
    #[must_use]
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }
}

impl Replica {
    /// Its secure port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process number, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// GETs a path as the aggregator would for a user.
    ///
    /// # Errors
    /// Fails when no answer comes.
    pub async fn get_as(&self, user: &str, groups: &[&str], path: &str) -> Result<Answer> {
        let mut headers = vec![("X-Remote-User", user)];
        headers.extend(groups.iter().map(|group| ("X-Remote-Group", *group)));
        requests::get_with(&self.trusted, path, &headers).await
    }

    /// GETs a path as the aggregator would for the administrator.
    ///
    /// # Errors
    /// Fails when no answer comes.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.get_with(path, &[]).await
    }

    /// GETs a path with headers as the aggregator would for the administrator.
    ///
    /// # Errors
    /// Fails when no answer comes.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let mut all = vec![("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")];
        all.extend(headers);
        requests::get_with(&self.trusted, path, &all).await
    }

    /// GETs a path without any credential.
    ///
    /// # Errors
    /// Fails when no answer comes.
    pub async fn get_anonymously(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        requests::get_with(&self.anonymous, path, headers).await
    }

    /// A client that this replica takes for the aggregator.
    #[must_use]
    pub fn trusted(&self) -> Client {
        self.trusted.clone()
    }

    async fn terminate(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        let log = process.log_tail();
        let status = process.terminate().await?;
        let number = self.number;
        ensure!(status.success(), "replica {number} ended with {status} after SIGTERM; the end of its log:\n{log}");
        Ok(())
    }

    /// As a new pod, whose `emptyDir` is empty.
    fn forget_compiled(&self) -> Result<()> {
        match std::fs::remove_dir_all(self.compile_cache()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn compile_cache(&self) -> PathBuf {
        self.folder.join(format!("compile-cache-{}", self.number))
    }

    async fn start(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let name = format!("adapter-{}", self.number);
        let mut process = Process::start(&name, &programs::adapter()?, &self.flags(), &self.folder)?;
        eventually("the replica is ready", READY, async || {
            process.ensure_running()?;
            let ready = requests::get(&self.anonymous, "/readyz").await?;
            ensure!(ready.status.is_success(), "/readyz answered {}: {}", ready.status, ready.text());
            Ok(())
        })
        .await
        .with_context(|| process.log_tail())?;
        self.process = Some(process);
        Ok(began.elapsed())
    }

    fn flags(&self) -> Vec<String> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        vec![
            "serve".to_owned(),
            format!("--kubeconfig={}", self.kubeconfig.display()),
            format!("--namespace={ADAPTER_NAMESPACE}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            format!("--tls-cert-file={}", file("adapter.crt")),
            format!("--tls-private-key-file={}", file("adapter.key")),
            format!("--compile-cache-dir={}", self.compile_cache().display()),
            // Backends of the suite are on loopback, which plugins may not reach by default.
            "--internal-cidrs=127.0.0.1/32".to_owned(),
        ]
    }
}

/// The name that the aggregator verifies in the serving certificate, whatever host it dials.
#[must_use]
pub fn service_host() -> String {
    format!("{ADAPTER_NAME}.{ADAPTER_NAMESPACE}.svc")
}
