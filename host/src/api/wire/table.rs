//! `metav1.Table`, which `kubectl get` prints as it is. Go's has no protobuf, and so there is none here.

use serde::Serialize;
use serde_json::Value;

use super::{ListMeta, MetaVersion, ObjectMeta, PartialObjectMetadata};
use crate::api::encoding::TypeMeta;

/// An object that makes a row of a table.
pub(in crate::api) trait Tabular: Serialize {
    /// One for each cell.
    const COLUMNS: &'static [Column];

    /// What the row is about.
    fn metadata(&self) -> ObjectMeta<'_>;

    /// What a person is to see.
    fn cells(&self) -> Vec<Value>;
}

/// `metav1.TableColumnDefinition`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::api) struct Column {
    name: &'static str,
    r#type: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
}

/// `includeObject`: what a row holds beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::api) enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Table<'object, Item> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta,
    column_definitions: &'static [Column],
    rows: Vec<Row<'object, Item>>,
}

#[derive(Serialize)]
struct Row<'object, Item> {
    cells: Vec<Value>,
    object: RowObject<'object, Item>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RowObject<'object, Item> {
    None,
    Metadata(PartialObjectMetadata<'object>),
    Object {
        #[serde(flatten)]
        meta: TypeMeta<'object>,
        #[serde(flatten)]
        item: &'object Item,
    },
}

impl Column {
    /// A column of texts. kubectl prints its name in capitals.
    pub(in crate::api) const fn text(name: &'static str, description: &'static str) -> Self {
        Self { name, r#type: "string", format: "", description, priority: 0 }
    }

    /// A column of texts of that format, as in `quantity`.
    pub(in crate::api) const fn formatted(name: &'static str, format: &'static str) -> Self {
        Self { format, ..Self::text(name, "") }
    }

    /// The column that names the object.
    pub(in crate::api) const fn name(name: &'static str, description: &'static str) -> Self {
        Self { format: "name", ..Self::text(name, description) }
    }
}

impl Include {
    /// Of the parameter's text; `None` if it is none of the three.
    pub(in crate::api) fn named(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::default()),
            "None" => Some(Self::None),
            "Metadata" => Some(Self::Metadata),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

impl<'object, Item: Tabular> Table<'object, Item> {
    /// A table of `items`, each of which is a `meta`.
    pub(in crate::api) fn new(
        version: MetaVersion,
        include: Include,
        meta: TypeMeta<'object>,
        items: &'object [Item],
    ) -> Self {
        let row = |item: &'object Item| Row {
            cells: item.cells(),
            object: match include {
                Include::None => RowObject::None,
                Include::Metadata => RowObject::Metadata(PartialObjectMetadata::new(version, item.metadata())),
                Include::Object => RowObject::Object { meta, item },
            },
        };
        Self {
            kind: "Table",
            api_version: version.api_version(),
            metadata: ListMeta {},
            column_definitions: Item::COLUMNS,
            rows: items.iter().map(row).collect(),
        }
    }
}
