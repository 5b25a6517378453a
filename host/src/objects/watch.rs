//! Keeps an index up to date with one watch of the API server. A watch that fails is tried again for ever, and what it knew
//! stays: only a first listing that has not come is an error.

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::{runtime::Handle, sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::index::{Index, Object};
use crate::model::{FetchError, GroupResource, Reason};

/// How long a request waits for the first listing of a kind. The HPA controller asks again after 15 seconds anyway.
const FIRST_LISTING: Duration = Duration::from_secs(2);
/// A watch that was refused is started again at once when it is asked for, but not more often than this: the watch itself waits
/// up to half a minute between its tries.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// Objects of one kind, watched. Dropping it ends the watch.
pub(super) struct Watch {
    index: Arc<Index>,
    state: watch::Receiver<State>,
    started: Instant,
    resource: GroupResource,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The first listing has not come yet.
    Listing,
    /// The first listing was refused, or there are no such objects any more; it is tried again.
    Refused(FetchError),
    /// The index is complete, if perhaps old.
    Ready,
}

impl Watch {
    /// Starts on `home` with all objects; `keep` makes of an object what the index keeps.
    pub(super) fn start<K>(
        home: &Handle,
        resource: &GroupResource,
        api: Api<K>,
        keep: impl Fn(&K) -> Object + Send + 'static,
    ) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        Self::start_of(home, resource, api, watcher::Config::default(), keep)
    }

    /// The same with those of the objects that `which` selects.
    pub(super) fn start_of<K>(
        home: &Handle,
        resource: &GroupResource,
        api: Api<K>,
        which: watcher::Config,
        keep: impl Fn(&K) -> Object + Send + 'static,
    ) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let index = Arc::new(Index::default());
        let (sender, state) = watch::channel(State::Listing);
        let events = patiently(watcher::watcher(api, which));
        let task = home.spawn(run(events, Arc::clone(&index), sender, keep, resource.clone()));
        let started = Instant::now();
        Self { index, state, started, resource: resource.clone(), _task: AbortOnDropHandle::new(task) }
    }

    /// Whether the index can be read at once.
    pub(super) fn is_ready(&self) -> bool {
        *self.state.borrow() == State::Ready
    }

    /// Whether a new watch may do better.
    pub(super) fn is_spent(&self) -> bool {
        matches!(*self.state.borrow(), State::Refused(_)) && self.started.elapsed() >= REFUSED_FOR
    }

    /// The index, once it is complete.
    ///
    /// # Errors
    ///
    /// `Reason::Loading` if the first listing does not come in time, `Reason::Unavailable` if it is refused.
    pub(super) async fn index(&self) -> Result<&Index, FetchError> {
        let mut state = self.state.clone();
        let settled = tokio::time::timeout(FIRST_LISTING, state.wait_for(|state| *state != State::Listing)).await;
        match settled {
            Ok(Ok(state)) => match &*state {
                State::Refused(error) => Err(error.clone()),
                State::Ready | State::Listing => Ok(&self.index),
            },
            Ok(Err(_)) | Err(_) => {
                let message = format!("`{}` are still being listed from the API server; ask again", self.resource);
                Err(FetchError::new(Reason::Loading, message))
            }
        }
    }
}

async fn run<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    index: Arc<Index>,
    state: watch::Sender<State>,
    keep: impl Fn(&K) -> Object,
    resource: GroupResource,
) {
    let mut events = pin!(events);
    let mut listing = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {}
            Ok(Event::InitApply(object)) => listing.push(keep(&object)),
            Ok(Event::InitDone) => {
                index.replace(std::mem::take(&mut listing));
                state.send_replace(State::Ready);
            }
            Ok(Event::Apply(object)) => index.apply(keep(&object)),
            Ok(Event::Delete(object)) => index.delete(&keep(&object)),
            Err(error) => {
                // What a listing has brought before it failed is brought again by the next.
                listing.clear();
                tracing::warn!(%resource, %error, "watch failed; it is tried again, and what is known stays");
                if let Some(refusal) = refusal(&resource, &error) {
                    state.send_if_modified(|state| {
                        let applies = refusal.ends_what_is_known || *state != State::Ready;
                        if applies {
                            *state = State::Refused(refusal.error);
                        }
                        applies
                    });
                }
            }
        }
    }
}

/// Waits longer and longer between tries that fail, up to half a minute. kube's back-off begins anew with each event that is no
/// error; the one that tells of another try is none of the kind.
pub(super) fn patiently<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Send,
{
    events.filter(|event| std::future::ready(!matches!(event, Ok(Event::Init)))).default_backoff()
}

struct Refusal {
    error: FetchError,
    /// Whether objects that were listed before are gone with it.
    ends_what_is_known: bool,
}

/// What to tell of an error that waiting alone does not cure. A missing right is no reason to forget what was seen with it: roles
/// are often replaced by deleting and creating them.
fn refusal(resource: &GroupResource, error: &watcher::Error) -> Option<Refusal> {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        _ => return None,
    };
    let message = match code {
        403 => {
            let rule = format!(
                "apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"list\", \"watch\"]",
                resource.group, resource.name
            );
            format!("the adapter may not list `{resource}`; add this rule to its ClusterRole: {rule}")
        }
        404 => {
            format!("the API server does not serve `{resource}` any more; restore the kind, or the server behind it")
        }
        _ => return None,
    };
    Some(Refusal { error: FetchError::new(Reason::Unavailable, message), ends_what_is_known: code == 404 })
}
