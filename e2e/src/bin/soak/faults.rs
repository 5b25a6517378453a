//! What goes wrong, round after round, with questions all the time: through the aggregator while there is one, and to each replica
//! directly while it runs.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result};
use e2e::{
    footprint::Footprint,
    traffic::{Asker, Counts, Traffic},
};

use crate::{Stage, plugins::Plugins, storm::Storm};

/// Between two questions of one client to a good plugin.
const STEADY: Duration = Duration::from_millis(50);

/// The same for hostile ones: enough of them to matter, without taking the machine from all others.
const HOSTILE: Duration = Duration::from_millis(500);

/// How long what is away stays away.
const OUTAGE: Duration = Duration::from_secs(5);

/// How long all is well between two faults.
const REST: Duration = Duration::from_secs(5);

/// Faults under way.
pub(crate) struct Faults<'stage> {
    stage: &'stage mut Stage,
    plugins: &'stage mut Plugins,
    good: Counts,
    hostile: Counts,
    injected: Injected,
}

/// How often each fault was injected.
#[derive(Default)]
pub(crate) struct Injected {
    backends: u32,
    replicas: u32,
    api_servers: u32,
    etcds: u32,
}

/// Who asks meanwhile.
struct Everybody {
    aggregated: Traffic,
    hostile: Traffic,
    direct: Vec<Traffic>,
}

impl<'stage> Faults<'stage> {
    pub(crate) fn new(stage: &'stage mut Stage, plugins: &'stage mut Plugins) -> Self {
        let (good, hostile) = (Counts::default(), Counts::default());
        Self { stage, plugins, good, hostile, injected: Injected::default() }
    }

    /// One fault of each kind, with a rest after each. Every request of the round is judged.
    pub(crate) async fn round(&mut self) -> Result<()> {
        self.a_backend_dies().await.context("a backend dies")?;
        self.a_replica_is_replaced().await.context("a replica is replaced")?;
        self.the_api_server_is_killed().await.context("kube-apiserver is killed")?;
        self.etcd_hangs().await.context("etcd hangs")
    }

    /// What came of all questions, and which faults there were.
    pub(crate) fn end(self) -> (Counts, Counts, Injected) {
        (self.good, self.hostile, self.injected)
    }

    async fn a_backend_dies(&mut self) -> Result<()> {
        let everybody = self.everybody();
        self.plugins.dying.die();
        tokio::time::sleep(OUTAGE).await;
        self.plugins.dying.come_back()?;
        self.stage.answers(&Plugins::dying_path()).await?;
        self.injected.backends += 1;
        self.rest(everybody).await
    }

    async fn a_replica_is_replaced(&mut self) -> Result<()> {
        let mut everybody = self.everybody();
        // Who asks a process that is told to end, and nobody else, has nowhere to go.
        let asking = everybody.direct.remove(0).end().await?;
        self.good = std::mem::take(&mut self.good).and(asking);
        let leaving = self.stage.adapter.replicas().first().and_then(|replica| replica.process_id());
        println!("  leaving: {}", Footprint::of(leaving.context("the replica does not run")?)?);
        self.stage.adapter.roll(0).await?;
        self.injected.replicas += 1;
        self.rest(everybody).await
    }

    async fn the_api_server_is_killed(&mut self) -> Result<()> {
        let direct = self.only_direct();
        self.stage.control_plane.kill_api_server().await?;
        tokio::time::sleep(OUTAGE).await;
        self.stage.control_plane.revive_api_server().await?;
        self.recover(direct).await?;
        self.injected.api_servers += 1;
        let everybody = self.everybody();
        self.rest(everybody).await
    }

    async fn etcd_hangs(&mut self) -> Result<()> {
        let direct = self.only_direct();
        let frozen = self.stage.control_plane.freeze_etcd()?;
        tokio::time::sleep(OUTAGE).await;
        drop(frozen);
        self.recover(direct).await?;
        self.injected.etcds += 1;
        let everybody = self.everybody();
        self.rest(everybody).await
    }

    fn everybody(&self) -> Everybody {
        let asker = Asker::through_the_aggregator(&self.stage.admin);
        Everybody {
            aggregated: Traffic::begin(&asker, STEADY, &self.plugins.good_questions()),
            hostile: Traffic::begin(&asker, HOSTILE, &self.plugins.hostile_questions()),
            direct: self.only_direct(),
        }
    }

    /// While there is no aggregator, its clients can't ask.
    fn only_direct(&self) -> Vec<Traffic> {
        let questions =
            |asker: &Asker| Traffic::begin(asker, STEADY, &[Storm::never_older(), Plugins::steady_question()]);
        self.stage.adapter.replicas().iter().map(|replica| questions(&Asker::of(replica))).collect()
    }

    /// Waits until the aggregator answers again.
    async fn recover(&mut self, direct: Vec<Traffic>) -> Result<()> {
        for question in self.plugins.good_questions() {
            self.stage.answers(&question.path).await?;
        }
        self.count(direct).await
    }

    async fn rest(&mut self, everybody: Everybody) -> Result<()> {
        tokio::time::sleep(REST).await;
        let Everybody { aggregated, hostile, direct } = everybody;
        self.hostile = std::mem::take(&mut self.hostile).and(hostile.end().await?);
        self.count(direct.into_iter().chain([aggregated]).collect()).await
    }

    async fn count(&mut self, good: Vec<Traffic>) -> Result<()> {
        for traffic in good {
            let counts = traffic.end().await?;
            self.good = std::mem::take(&mut self.good).and(counts);
        }
        Ok(())
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backends, replicas, api_servers, etcds } = self;
        write!(
            formatter,
            "{backends} dead backends, {replicas} replaced replicas, {api_servers} kills of kube-apiserver, {etcds} freezes of etcd"
        )
    }
}
