//! The Kubernetes dialect: URLs to questions, answers and failures to what kube-aggregator, the HPA controller and kubectl read.
//! It asks [`Provider`], [`Kinds`] and [`Inventory`] and nothing else: no I/O, no Kubernetes client, no plugin by name.
//!
//! A request goes `path::parse` (before authorization), then [`Api::respond`]: method, negotiation, query, provider, wire.

mod accept;
mod content;
mod custom;
mod discovery;
mod documents;
mod encoding;
mod etag;
mod explain;
mod external;
mod fields;
mod group;
mod negotiate;
mod openapi;
mod outcome;
mod parameters;
pub mod path;
mod prepared;
mod resource;
mod shape;
mod status;
mod wire;

use std::sync::Arc;

use axum::response::Response;
use http::{Method, request::Parts};

pub use fields::{FieldSelector, InvalidFieldSelector};
pub use group::{CustomVersion, Group, GroupVersion};
pub use outcome::Outcome;
pub use parameters::{BadParameter, Parameters};
pub use status::Status;

use crate::model::{Inventory, Kinds, Provider};
use path::{Form, Target};

/// The metrics APIs and their discovery.
pub struct Api {
    provider: Arc<dyn Provider>,
    kinds: Arc<dyn Kinds>,
    inventory: Arc<dyn Inventory>,
    documents: discovery::Documents,
    openapi: openapi::OpenApi,
}

impl Api {
    /// An API over what `provider` answers, of objects whose kinds `kinds` knows; `inventory` has the pods and nodes of
    /// metrics.k8s.io.
    pub fn new(provider: Arc<dyn Provider>, kinds: Arc<dyn Kinds>, inventory: Arc<dyn Inventory>) -> Self {
        let (documents, openapi) = (discovery::Documents::default(), openapi::OpenApi::new());
        Self { provider, kinds, inventory, documents, openapi }
    }

    /// Answers an authorized request. `target` is what was authorized; `head` tells the form of the answer alone. Paths of
    /// [`Form::Other`] are not found here.
    pub async fn respond(&self, target: &Target, head: &Parts) -> Response {
        let parameters = &target.parameters;
        let outcome = match &target.form {
            Form::Other => Err(Status::not_found()),
            Form::OpenApi(document) if matches!(target.method, Method::GET | Method::HEAD) => {
                self.openapi.respond(document, &self.provider.catalog(), head)
            }
            _ if target.method != Method::GET => Err(Status::method_not_allowed()),
            Form::External(_) if parameters.watch => Err(Status::watch_not_supported(Group::External, "*")),
            Form::Resource(resource) if parameters.watch && resource.is_collection() => {
                Err(Status::watch_not_supported(Group::Resource, resource.resource()))
            }
            Form::OpenApi(_) => Err(Status::not_found()),
            Form::Discovery(document) => self.documents.respond(*document, &*self.provider, &*self.kinds, head),
            Form::Custom(_) | Form::External(_) | Form::Resource(_) => match parameters.explain() {
                Ok(None) => self.metric(&*self.provider, target, head).await,
                Ok(Some(detail)) => explain::respond(self, detail, target, head).await,
                Err(error) => Err(error.into()),
            },
        };
        outcome.unwrap_or_else(|status| status.respond(head))
    }

    /// A metric of `provider`, which is the registry or a witness of what it answers.
    async fn metric(&self, provider: &dyn Provider, target: &Target, head: &Parts) -> Result<Response, Status> {
        let parameters = &target.parameters;
        match &target.form {
            Form::Custom(custom) => custom::respond(self, provider, custom, parameters, head).await,
            Form::External(external) => external::respond(provider, external, parameters, head).await,
            Form::Resource(resource) => resource::respond(self, provider, resource, parameters, head).await,
            Form::Discovery(_) | Form::OpenApi(_) | Form::Other => Err(Status::not_found()),
        }
    }
}
