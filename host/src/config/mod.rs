//! What `serve` is to do: its flags, checked against each other before any port opens.

mod flags;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

use flags::{AuthenticationArgs, ClusterArgs, ListenArgs, LoggingArgs, PluginArgs};
pub use flags::{ServeArgs, TlsVersion};

use crate::telemetry::{LogFormat, RequestLogging};

/// What `serve` is to do. Every value is checked.
#[derive(Debug)]
pub struct Config {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// Where the serving certificate comes from.
    pub certificate: Certificate,
    /// The oldest version of TLS to speak.
    pub tls_min_version: TlsVersion,
    /// The cipher suites of TLS 1.2 to offer, by their IANA names; none means all.
    pub tls_cipher_suites: Vec<String>,
    /// Requests under way at once.
    pub max_requests_inflight: usize,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// The cluster; absent for a folder of plugins on loopback.
    pub cluster: Option<Cluster>,
    /// The adapter's own namespace.
    pub namespace: String,
    /// Kinds of objects that plugins may look up.
    pub object_resources: Vec<String>,
    /// Plugins of a folder, in place of ConfigMaps.
    pub plugin_dir: Option<PathBuf>,
    /// Namespaces of tenants; never the adapter's own.
    pub plugin_namespaces: BTreeSet<String>,
    /// What the plugins of each namespace may.
    pub policy: Option<PathBuf>,
    /// Files that plugins of the adapter's own namespace may name.
    pub plugin_files_dir: Option<PathBuf>,
    /// Compiled plugins.
    pub compile_cache_dir: Option<PathBuf>,
    /// Addresses that plugins may reach beside the usual ones.
    pub internal_cidrs: Vec<IpNet>,
    /// Further CAs of backends.
    pub backend_ca_file: Option<PathBuf>,
    /// Threads for guests.
    pub guest_threads: usize,
    /// Which log lines.
    pub log_filter: String,
    /// How they look.
    pub log_format: LogFormat,
    /// Which requests have a line there.
    pub request_log: RequestLogging,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Files that somebody else renews.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A CA of our own, in a Secret that the replicas share.
    SelfIssued {
        /// The Secret.
        secret: String,
        /// The Service.
        service: String,
    },
    /// Made at the start, for loopback.
    Ephemeral,
}

/// Which cluster, as whom, and whom to trust.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Absent for the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// Absent for the same as `kubeconfig`.
    pub authentication_kubeconfig: Option<PathBuf>,
    /// Absent for the same as `kubeconfig`.
    pub authorization_kubeconfig: Option<PathBuf>,
    /// `--authentication-skip-lookup`
    pub skip_lookup: bool,
    /// `--authentication-tolerate-lookup-failure`
    pub tolerate_lookup_failure: bool,
    /// For how long a reviewed token is remembered.
    pub token_ttl: Duration,
    /// For how long a granted access is remembered.
    pub authorized_ttl: Duration,
    /// For how long a refused access is remembered.
    pub unauthorized_ttl: Duration,
    /// Paths that anybody may read.
    pub always_allow_paths: Vec<String>,
    /// Audiences of tokens.
    pub audiences: Vec<String>,
    /// In place of the cluster's.
    pub client_ca_file: Option<PathBuf>,
    /// In place of the cluster's.
    pub front_proxy: Option<FrontProxy>,
}

/// The `--requestheader-*` flags.
#[derive(Debug, Clone)]
pub struct FrontProxy {
    /// `--requestheader-client-ca-file`
    pub ca_file: PathBuf,
    /// `--requestheader-allowed-names`; none means any.
    pub allowed_names: Vec<String>,
    /// `--requestheader-username-headers`
    pub username_headers: Vec<String>,
    /// `--requestheader-uid-headers`
    pub uid_headers: Vec<String>,
    /// `--requestheader-group-headers`
    pub group_headers: Vec<String>,
    /// `--requestheader-extra-headers-prefix`
    pub extra_header_prefixes: Vec<String>,
}

/// Flags that don't go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// Without a cluster nobody is authenticated, so nobody else may connect.
    #[error(
        "--bind-address {0} can be reached by others, and without a cluster nobody is authenticated; listen on loopback, or name a cluster with --kubeconfig"
    )]
    NotLoopback(IpAddr),
    /// Nothing would say whom to trust.
    #[error(
        "--authentication-skip-lookup leaves nobody to trust; give --requestheader-client-ca-file or --client-ca-file"
    )]
    NobodyTrusted,
    /// 0 guests at once can't answer.
    #[error("--guest-threads 0 can run no plugin; use 1 or more")]
    NoThreads,
    /// It has other rights than a tenant.
    #[error(
        "--plugin-namespaces names {0}, the adapter's own namespace, whose plugins are taken anyway; name tenants alone"
    )]
    OwnNamespaceAsTenant(String),
    /// Nobody would watch them.
    #[error(
        "--plugin-namespaces is about ConfigMaps of a cluster, and --plugin-dir takes plugins from a folder; give one of both"
    )]
    NamespacesOfFolder,
}

impl ServeArgs {
    /// Checks the flags against each other and fills in what depends on them.
    pub fn into_config(self) -> Result<Config, InvalidConfig> {
        let Self { listen, cluster, authentication, plugins, logging } = self;
        let ClusterArgs { kubeconfig, namespace, object_resources } = cluster;
        let PluginArgs {
            plugin_dir,
            plugin_namespaces,
            policy,
            plugin_files_dir,
            compile_cache_dir,
            internal_cidrs,
            backend_ca_file,
            guest_threads,
        } = plugins;
        let LoggingArgs { log_filter, logging_format: log_format, request_log } = logging;
        let in_cluster = kubeconfig.is_some() || plugin_dir.is_none();
        let cluster = in_cluster.then(|| authentication.into_cluster(kubeconfig)).transpose()?;
        let unspecified = if in_cluster { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let address = listen.bind_address.unwrap_or(unspecified.into());
        if !in_cluster && !address.is_loopback() {
            return Err(InvalidConfig::NotLoopback(address));
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let guest_threads = guest_threads.unwrap_or(processors);
        if guest_threads == 0 {
            return Err(InvalidConfig::NoThreads);
        }
        let plugin_namespaces: BTreeSet<String> = plugin_namespaces.into_iter().collect();
        if plugin_namespaces.contains(&namespace) {
            return Err(InvalidConfig::OwnNamespaceAsTenant(namespace));
        }
        if plugin_dir.is_some() && !plugin_namespaces.is_empty() {
            return Err(InvalidConfig::NamespacesOfFolder);
        }
        Ok(Config {
            listen: SocketAddr::new(address, listen.secure_port),
            max_requests_inflight: listen.max_requests_inflight,
            request_timeout: listen.request_timeout,
            tls_min_version: listen.tls_min_version,
            tls_cipher_suites: listen.tls_cipher_suites.clone(),
            certificate: listen.into_certificate(in_cluster),
            cluster,
            namespace,
            object_resources,
            plugin_dir,
            plugin_namespaces,
            policy,
            plugin_files_dir,
            compile_cache_dir,
            internal_cidrs,
            backend_ca_file,
            guest_threads,
            log_filter,
            log_format,
            request_log,
        })
    }
}

impl ListenArgs {
    fn into_certificate(self, in_cluster: bool) -> Certificate {
        match (self.tls_cert_file, self.tls_private_key_file) {
            (Some(certificate), Some(key)) => Certificate::Files { certificate, key },
            _ if in_cluster => Certificate::SelfIssued { secret: self.serving_ca_secret, service: self.service },
            _ => Certificate::Ephemeral,
        }
    }
}

impl AuthenticationArgs {
    fn into_cluster(self, kubeconfig: Option<PathBuf>) -> Result<Cluster, InvalidConfig> {
        if self.authentication_skip_lookup
            && self.requestheader_client_ca_file.is_none()
            && self.client_ca_file.is_none()
        {
            return Err(InvalidConfig::NobodyTrusted);
        }
        let front_proxy = self.requestheader_client_ca_file.map(|ca_file| FrontProxy {
            ca_file,
            allowed_names: self.requestheader_allowed_names,
            username_headers: self.requestheader_username_headers,
            uid_headers: self.requestheader_uid_headers,
            group_headers: self.requestheader_group_headers,
            extra_header_prefixes: self.requestheader_extra_headers_prefix,
        });
        Ok(Cluster {
            kubeconfig,
            authentication_kubeconfig: self.authentication_kubeconfig,
            authorization_kubeconfig: self.authorization_kubeconfig,
            skip_lookup: self.authentication_skip_lookup,
            tolerate_lookup_failure: self.authentication_tolerate_lookup_failure,
            token_ttl: self.authentication_token_webhook_cache_ttl,
            authorized_ttl: self.authorization_webhook_cache_authorized_ttl,
            unauthorized_ttl: self.authorization_webhook_cache_unauthorized_ttl,
            always_allow_paths: self.authorization_always_allow_paths,
            audiences: self.api_audiences,
            client_ca_file: self.client_ca_file,
            front_proxy,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn config(flags: &str) -> Result<Config, InvalidConfig> {
        let flags = std::iter::once("serve").chain(flags.split_whitespace());
        Command::try_parse_from(flags).unwrap().serve.into_config()
    }

    #[test]
    fn a_folder_without_a_cluster_stays_on_loopback() {
        let local = config("--plugin-dir plugins").unwrap();
        assert!(local.listen.ip().is_loopback());
        assert_eq!(local.certificate, Certificate::Ephemeral);
        assert!(local.cluster.is_none());
        let open = config("--plugin-dir plugins --bind-address 0.0.0.0").unwrap_err();
        assert_eq!(open, InvalidConfig::NotLoopback(Ipv4Addr::UNSPECIFIED.into()));
        assert!(config("--plugin-dir plugins --bind-address 0.0.0.0 --kubeconfig admin.conf").is_ok());
    }

    #[test]
    fn a_cluster_is_the_default() {
        let config = config("").unwrap();
        assert!(config.cluster.is_some());
        assert!(config.listen.ip().is_unspecified());
        assert!(matches!(config.certificate, Certificate::SelfIssued { .. }));
    }

    #[test]
    fn tenants_are_other_namespaces_of_a_cluster() {
        let tenants = config("--plugin-namespaces shop,billing,shop").unwrap().plugin_namespaces;
        assert_eq!(tenants, ["billing", "shop"].map(str::to_owned).into());
        let own = config("--namespace shop --plugin-namespaces shop").unwrap_err();
        assert_eq!(own, InvalidConfig::OwnNamespaceAsTenant("shop".to_owned()));
        let folder = config("--plugin-dir plugins --plugin-namespaces shop").unwrap_err();
        assert_eq!(folder, InvalidConfig::NamespacesOfFolder);
    }

    #[test]
    fn somebody_must_be_trusted() {
        assert_eq!(config("--authentication-skip-lookup").unwrap_err(), InvalidConfig::NobodyTrusted);
        assert!(config("--authentication-skip-lookup --client-ca-file ca.crt").is_ok());
    }
}
