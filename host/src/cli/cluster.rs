//! The cluster that a command asks, and errors in its words.

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Patience for a connection and for each answer: an API server that takes longer has a greater problem than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client of the kubeconfig, or of what kubectl would use, or of the pod's own account; and its namespace. The error is for a
/// person and lacks what to do about it.
pub(super) async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<(Client, String), String> {
    let refused = |error: &dyn std::error::Error| error.to_string();
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| refused(&error))?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| refused(&error))?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| refused(&error))?,
        (None, None) => Config::infer().await.map_err(|error| refused(&error))?,
    };
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config).map_err(|error| refused(&error))?, namespace))
}

/// An error in the API server's own words, or with all its causes.
pub(super) fn cause(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let text = error.to_string();
        // Several errors of kube print their source themselves.
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        source = error.source();
    }
    words
}

/// Conditions and errors are other programs' words: they must not move the cursor or break a line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
