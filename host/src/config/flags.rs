//! The flags of `serve` as they are typed. Names are those of k8s.io/apiserver where it has the flag (`pkg/server/options`).

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;
use ipnet::IpNet;

use crate::telemetry::{LogFormat, RequestLogging};

/// `wasm-metrics-adapter serve`
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub(super) listen: ListenArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(flatten)]
    pub(super) authentication: AuthenticationArgs,
    #[command(flatten)]
    pub(super) plugins: PluginArgs,
    #[command(flatten)]
    pub(super) logging: LoggingArgs,
}

/// Where and how to listen.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub(super) struct ListenArgs {
    /// The address to listen on; by default every address in a cluster, and loopback without one
    #[arg(long, value_name = "IP")]
    pub(super) bind_address: Option<IpAddr>,
    /// The port to listen on, with TLS
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub(super) secure_port: u16,
    /// The serving certificate with its chain, in PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub(super) tls_cert_file: Option<PathBuf>,
    /// The key of --tls-cert-file, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub(super) tls_private_key_file: Option<PathBuf>,
    /// The oldest version of TLS to speak
    #[arg(long, value_name = "VERSION", value_enum, default_value_t = TlsVersion::Tls12)]
    pub(super) tls_min_version: TlsVersion,
    /// The cipher suites of TLS 1.2 to offer, by their IANA names; by default all, none of which is weak
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) tls_cipher_suites: Vec<String>,
    /// Without --tls-cert-file: the Secret, in the adapter's namespace, in which the replicas keep the CA that issues their
    /// serving certificates
    #[arg(long, value_name = "NAME", default_value = "wasm-metrics-adapter-serving")]
    pub(super) serving_ca_secret: String,
    /// The adapter's Service, whose names the serving certificate carries and whose APIServices get the CA
    #[arg(long, value_name = "NAME", default_value = "wasm-metrics-adapter")]
    pub(super) service: String,
    /// Requests under way at once; more are answered with 429
    #[arg(long, value_name = "COUNT", default_value_t = 400)]
    pub(super) max_requests_inflight: usize,
    /// How long one request may take
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub(super) request_timeout: Duration,
}

/// A version of TLS, in Go's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsVersion {
    /// 1.2
    #[value(name = "VersionTLS12")]
    Tls12,
    /// 1.3
    #[value(name = "VersionTLS13")]
    Tls13,
}

/// Which cluster, as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// The cluster and who to be there; by default the pod's own service account
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The adapter's own namespace
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "wasm-metrics-adapter")]
    pub(super) namespace: String,
    /// The kinds of objects that plugins may look up, as RESOURCE or RESOURCE.GROUP; `*.GROUP` stands for a whole group
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "pods,services,nodes,namespaces,*.apps")]
    pub(super) object_resources: Vec<String>,
}

/// Who may ask.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Authentication and authorization")]
pub(super) struct AuthenticationArgs {
    /// Who to be when tokens are reviewed and the front proxy's CA is looked up; by default as --kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(super) authentication_kubeconfig: Option<PathBuf>,
    /// Who to be when accesses are reviewed; by default as --kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(super) authorization_kubeconfig: Option<PathBuf>,
    /// Don't look up kube-system/extension-apiserver-authentication; then the CA files must be given
    #[arg(long)]
    pub(super) authentication_skip_lookup: bool,
    /// Start although that ConfigMap may not be read; clients of unknown CAs are then refused
    #[arg(long)]
    pub(super) authentication_tolerate_lookup_failure: bool,
    /// For how long a reviewed token is remembered
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(super) authentication_token_webhook_cache_ttl: Duration,
    /// For how long a granted access is remembered
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(super) authorization_webhook_cache_authorized_ttl: Duration,
    /// For how long a refused access is remembered
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(super) authorization_webhook_cache_unauthorized_ttl: Duration,
    /// Paths that anybody may read; a `*` at the end of one stands for anything
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "/healthz,/readyz,/livez")]
    pub(super) authorization_always_allow_paths: Vec<String>,
    /// Audiences that a token must be for; by default the API server's own
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) api_audiences: Vec<String>,
    /// The CA of client certificates, in place of the cluster's
    #[arg(long, value_name = "FILE")]
    pub(super) client_ca_file: Option<PathBuf>,
    /// The CA of front proxies, in place of the cluster's
    #[arg(long, value_name = "FILE")]
    pub(super) requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of front proxies; none means any of the CA
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "requestheader_client_ca_file")]
    pub(super) requestheader_allowed_names: Vec<String>,
    /// Headers of the user name, the first that is there counts
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "x-remote-user")]
    pub(super) requestheader_username_headers: Vec<String>,
    /// Headers of the user's id
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) requestheader_uid_headers: Vec<String>,
    /// Headers of groups
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "x-remote-group")]
    pub(super) requestheader_group_headers: Vec<String>,
    /// Beginnings of headers of further attributes
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "x-remote-extra-")]
    pub(super) requestheader_extra_headers_prefix: Vec<String>,
}

/// Where plugins come from, and what they may.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Plugins")]
pub(super) struct PluginArgs {
    /// Take plugins from this folder (NAME.wasm with NAME.yaml beside it, or ConfigMap YAML files) in place of ConfigMaps;
    /// without --kubeconfig this needs no cluster
    #[arg(long, value_name = "DIR")]
    pub(super) plugin_dir: Option<PathBuf>,
    /// Take plugins from ConfigMaps of these namespaces too: tenants, whose plugins serve their own namespace alone, within the policy
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = namespace)]
    pub(super) plugin_namespaces: Vec<String>,
    /// What the plugins of each namespace may: a file of kind Policy; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// The folder below which `component.file` of plugins in the adapter's own namespace is looked for; without it there is none
    #[arg(long, value_name = "DIR")]
    pub(super) plugin_files_dir: Option<PathBuf>,
    /// Keep compiled plugins in this folder, which nobody else may write: a restart is then ready in milliseconds
    #[arg(long, value_name = "DIR")]
    pub(super) compile_cache_dir: Option<PathBuf>,
    /// Addresses that plugins may reach although they are forbidden by default (loopback, link-local); as CIDRs
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) internal_cidrs: Vec<IpNet>,
    /// Further CAs of plugins' backends, in PEM, beside the system's; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) backend_ca_file: Option<PathBuf>,
    /// Threads on which plugins run; by default as many as processors
    #[arg(long, value_name = "COUNT")]
    pub(super) guest_threads: Option<usize>,
}

/// What to log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub(super) struct LoggingArgs {
    /// Which lines, as a level or as `target=level` pairs
    #[arg(long, value_name = "FILTER", env = "LOG_FILTER", default_value = "info")]
    pub(super) log_filter: String,
    /// How lines look
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(super) logging_format: LogFormat,
    /// Which requests have a line in the log: `off`, `errors` or `all`
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = RequestLogging::All, hide_possible_values = true)]
    pub(super) request_log: RequestLogging,
}

/// A namespace's name: a DNS label (RFC 1123).
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good =
        (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
    good.then(|| text.to_owned()).ok_or_else(|| "write names of namespaces, separated by commas".to_owned())
}

/// A duration of one number and one unit, as in `10s`, `500ms` or `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number and a unit, as in 10s, 500ms or 1m".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a number and a unit, as in 10s, 500ms or 1m".to_owned())?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_names_and_no_patterns() {
        assert_eq!(namespace("shop-1"), Ok("shop-1".to_owned()));
        for text in ["", "*", "Shop", "-a", "a-", "a.b", "a/b", &"a".repeat(64)] {
            assert!(namespace(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "10", "s", "1.5s", "-1s", "10 s"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
