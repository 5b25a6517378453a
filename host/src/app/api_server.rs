//! Whether the API server answers, for the detail of readiness. Nothing waits for it: loaded plugins go on, watches are taken up
//! again by themselves, and who was authorized stays so for seconds.

use std::time::Duration;

use kube::Client;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::telemetry::Notice;

/// Between two looks: soon enough for a person who asks why nothing is reloaded, and nothing beside the watches of a cluster.
const EVERY: Duration = Duration::from_secs(5);

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks until `stop`. The API server's own readiness counts: without etcd it answers, and has nothing to say.
pub(super) async fn look(client: Client, notice: Notice, stop: CancellationToken) {
    let looking = async {
        loop {
            let answers = timeout(PATIENCE, is_ready(&client)).await.unwrap_or(false);
            match (notice.set(answers), answers) {
                (true, true) => info!("the API server answers again"),
                (true, false) => warn!("the API server does not answer; loaded plugins go on, and changes come later"),
                (false, _) => {}
            }
            sleep(EVERY).await;
        }
    };
    stop.run_until_cancelled(looking).await;
}

async fn is_ready(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    match client.request_text(request).await {
        Ok(_) => true,
        // Who may not ask is answered all the same.
        Err(kube::Error::Api(status)) => status.code < 500,
        Err(_) => false,
    }
}
