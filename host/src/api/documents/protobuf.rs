//! Discovery's documents in protobuf.

use super::{
    ApiGroup, ApiGroupDiscoveryList, ApiGroupList, ApiResource, ApiResourceList, ApiVersion, GroupDiscovery,
    ResourceDiscovery, ResponseKind, SubresourceDiscovery, VersionDiscovery,
};
use crate::api::encoding::{
    Document, TypeMeta,
    protobuf::{Fields, Message},
};

impl Document for ApiResourceList {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind, api_version: self.api_version }
    }
}

impl Message for ApiResourceList {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, &self.group_version);
        fields.messages(2, &self.resources);
    }
}

impl Message for ApiResource {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, &self.name);
        fields.boolean(2, self.namespaced);
        fields.string(3, self.kind);
        fields.nested(4, |verbs| verbs.strings(1, self.verbs));
        fields.string(6, self.singular_name);
        fields.string(8, ""); // group
        fields.string(9, ""); // version
        fields.string(10, ""); // storageVersionHash
    }
}

impl Document for ApiGroup {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind.unwrap_or_default(), api_version: self.api_version.unwrap_or_default() }
    }
}

impl Message for ApiGroup {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.name);
        fields.messages(2, &self.versions);
        if let Some(preferred) = &self.preferred_version {
            fields.message(3, preferred);
        }
    }
}

impl Message for ApiVersion {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, &self.group_version);
        fields.string(2, self.version);
    }
}

impl Document for ApiGroupList {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind, api_version: self.api_version }
    }
}

impl Message for ApiGroupList {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.messages(1, &self.groups);
    }
}

impl Document for ApiGroupDiscoveryList {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind, api_version: self.api_version }
    }
}

impl Message for ApiGroupDiscoveryList {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.metadata);
        fields.messages(2, &self.items);
    }
}

impl Message for GroupDiscovery {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.metadata);
        fields.messages(2, &self.versions);
    }
}

impl Message for VersionDiscovery {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.version);
        fields.messages(2, &self.resources);
        fields.string(3, self.freshness);
    }
}

impl Message for ResourceDiscovery {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, &self.resource);
        fields.message(2, &self.response_kind);
        fields.string(3, self.scope);
        fields.string(4, self.singular_resource);
        fields.strings(5, self.verbs);
        fields.messages(8, &self.subresources);
    }
}

impl Message for SubresourceDiscovery {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, &self.subresource);
        fields.message(2, &self.response_kind);
        fields.strings(4, self.verbs);
    }
}

impl Message for ResponseKind {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.group);
        fields.string(2, self.version);
        fields.string(3, &self.kind);
    }
}
