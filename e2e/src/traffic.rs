//! Steady questions from several clients, each judged as it is answered, while something else happens. Nothing is asked twice: an
//! answer that does not come is a failure like a wrong one.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use tokio::task::JoinHandle;

use crate::{
    adapter::Replica,
    requests::{self, Answer},
};

/// So many failures are kept in words.
const WORDS: usize = 8;

/// For one answer: longer than any server of the suite takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to ask, again and again.
#[derive(Clone)]
pub struct Question {
    /// The path with its query.
    pub path: String,
    /// Called before each request; what it gives judges the answer.
    pub judge: Arc<dyn Fn() -> Judge + Send + Sync>,
}

/// Whether an answer is good.
pub type Judge = Box<dyn FnOnce(&Answer) -> Result<()> + Send>;

impl Question {
    /// A question whose answers are judged each by itself.
    pub fn new(path: &str, judge: impl Fn(&Answer) -> Result<()> + Send + Sync + Clone + 'static) -> Self {
        Self {
            path: path.to_owned(),
            judge: Arc::new(move || {
                let judge = judge.clone();
                Box::new(move |answer| judge(answer))
            }),
        }
    }

    /// A question that is answered with 200, and with these words in the body.
    #[must_use]
    pub fn expecting(path: &str, words: &str) -> Self {
        let words = words.to_owned();
        Self::new(path, move |answer| {
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            ensure!(answer.text().contains(&words), "`{words}` is missing in: {}", answer.text());
            Ok(())
        })
    }
}

/// Who asks.
#[derive(Clone)]
pub struct Asker {
    client: Client,
    headers: &'static [(&'static str, &'static str)],
}

/// Questions under way.
pub struct Traffic {
    tally: Arc<Tally>,
    clients: Vec<JoinHandle<()>>,
}

/// What came of questions.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Requests that were sent.
    pub sent: u64,
    /// Those that were not answered, or not well.
    pub failed: u64,
    /// The first failures, in words.
    pub failures: Vec<String>,
}

#[derive(Default)]
struct Tally {
    stopped: AtomicBool,
    sent: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Traffic {
    /// Begins: each question is asked with these headers, one request after the other with a pause between, until
    /// [`Traffic::end`].
    pub fn begin(asker: &Asker, pause: Duration, questions: &[Question]) -> Self {
        let tally = Arc::<Tally>::default();
        let clients = questions
            .iter()
            .map(|question| tokio::spawn(tally.clone().ask_until_stopped(asker.clone(), pause, question.clone())));
        Self { clients: clients.collect(), tally }
    }

    /// Requests sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.tally.sent.load(Ordering::SeqCst)
    }

    /// Lets requests under way finish, and gives what came of all.
    ///
    /// # Errors
    /// Fails when a client panicked.
    pub async fn end(self) -> Result<Counts> {
        self.tally.stopped.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await?;
        }
        Ok(Counts {
            sent: self.tally.sent.load(Ordering::SeqCst),
            failed: self.tally.failed.load(Ordering::SeqCst),
            failures: std::mem::take(&mut self.tally.failures.lock().unwrap_or_else(PoisonError::into_inner)),
        })
    }
}

impl Tally {
    async fn ask_until_stopped(self: Arc<Self>, asker: Asker, pause: Duration, question: Question) {
        while !self.stopped.load(Ordering::SeqCst) {
            self.sent.fetch_add(1, Ordering::SeqCst);
            if let Err(error) = asker.ask(&question).await {
                self.failed.fetch_add(1, Ordering::SeqCst);
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                if failures.len() < WORDS {
                    failures.push(format!("{error:#}"));
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
}

impl Asker {
    /// Somebody who asks kube-apiserver.
    #[must_use]
    pub fn through_the_aggregator(client: &Client) -> Self {
        Self { client: client.clone(), headers: &[] }
    }

    /// Somebody who asks a replica as the aggregator would for the administrator.
    #[must_use]
    pub fn of(replica: &Replica) -> Self {
        Self { client: replica.trusted(), headers: &[("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")] }
    }

    async fn ask(&self, question: &Question) -> Result<()> {
        let judge = (question.judge)();
        let asked = requests::get_with(&self.client, &question.path, self.headers);
        let answer = tokio::time::timeout(PATIENCE, asked)
            .await
            .with_context(|| format!("{}: no answer in {PATIENCE:?}", question.path))??;
        judge(&answer).with_context(|| question.path.clone())
    }
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.sent += other.sent;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(WORDS);
        self
    }

    /// Refuses any failure, and an empty count.
    ///
    /// # Errors
    /// Fails with the first failures in words.
    pub fn ensure_flawless(&self) -> Result<()> {
        ensure!(self.sent > 0, "nothing was asked");
        ensure!(self.failed == 0, "{} of {} requests failed; the first: {:#?}", self.failed, self.sent, self.failures);
        Ok(())
    }
}
