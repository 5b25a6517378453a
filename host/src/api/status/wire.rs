//! `metav1.Status`, field by field in the order in which Go prints it.

use serde::Serialize;

use crate::api::{
    encoding::{
        Document, TypeMeta,
        protobuf::{Fields, Message},
    },
    wire::ListMeta,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire<'status> {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) metadata: ListMeta,
    pub(super) status: &'static str,
    pub(super) message: &'status str,
    pub(super) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<&'status Details>,
    pub(super) code: u16,
}

/// `metav1.StatusDetails`, without a unique id and without seconds to wait.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) causes: Vec<Cause>,
}

/// `metav1.StatusCause`, of which only the message is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    pub(super) message: String,
}

impl Document for Wire<'_> {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind, api_version: self.api_version }
    }
}

impl Message for Wire<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.metadata);
        fields.string(2, self.status);
        fields.string(3, self.message);
        fields.string(4, self.reason);
        if let Some(details) = self.details {
            fields.message(5, details);
        }
        fields.integer(6, self.code.into());
    }
}

impl Message for Details {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, &self.name);
        fields.string(2, &self.group);
        fields.string(3, &self.kind);
        fields.messages(4, &self.causes);
        fields.integer(5, 0); // retryAfterSeconds
        fields.string(6, ""); // uid
    }
}

impl Message for Cause {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, ""); // reason
        fields.string(2, &self.message);
        fields.string(3, ""); // field
    }
}
