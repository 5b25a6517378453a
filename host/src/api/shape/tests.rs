use super::*;
use crate::api::{GroupVersion, encoding::tests::Golden, wire};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn head(query: &str, accept: &str) -> Parts {
    http::Request::get(format!("/?{query}")).header("accept", accept).body(()).unwrap().into_parts().0
}

#[test]
fn shapes_are_asked_for_by_parameters() {
    let table = |text, version, include| Shape::Table { text, version, include };
    let default = Include::Metadata;
    for (query, accept, expected) in [
        ("", "*/*", Shape::AsItIs),
        ("", "application/json;sv=v1", Shape::AsItIs),
        ("", TABLE, table(Text::Json, MetaVersion::V1, default)),
        ("", "application/yaml;as=Table;v=v1beta1;g=meta.k8s.io", table(Text::Yaml, MetaVersion::V1Beta1, default)),
        ("includeObject=None", TABLE, table(Text::Json, MetaVersion::V1, Include::None)),
        ("includeObject=Object", TABLE, table(Text::Json, MetaVersion::V1, Include::Object)),
        ("includeObject=", TABLE, table(Text::Json, MetaVersion::V1, default)),
        ("includeObject=Nonsense", "application/json", Shape::AsItIs),
        // There is no table in protobuf, so what comes next is taken.
        ("", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", Shape::AsItIs),
        ("", "*/*;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Shape::Metadata(MetaVersion::V1)),
        // As kubectl sends it.
        (
            "limit=500",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            table(Text::Json, MetaVersion::V1, default),
        ),
    ] {
        let shaped = Shaped::negotiate_list(&head(query, accept));
        assert_eq!(shaped.map(|shaped| shaped.shape), Ok(expected), "{query} {accept}");
    }
}

#[test]
fn other_shapes_are_refused() {
    for accept in [
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=Table;v=v2;g=meta.k8s.io",
        "application/json;as=Table;v=v1",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        "application/json;sv=v2",
    ] {
        assert_eq!(Shaped::negotiate_list(&head("", accept)), Err(NoShape::NotAcceptable(NotAcceptable)), "{accept}");
    }
    let object = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    assert!(Shaped::negotiate_object(&head("", object)).is_ok());
    let error = Shaped::negotiate_list(&head("includeObject=some", TABLE)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Unable to convert to Table as requested: includeObject: Invalid value: \"some\": must be 'Metadata', 'Object', 'None', or empty"
    );
}

/// The object of the golden tables.
#[derive(Serialize)]
struct Thing {
    metadata: wire::ObjectMeta<'static>,
    value: &'static str,
}

impl Message for Thing {
    fn write(&self, fields: &mut crate::api::encoding::protobuf::Fields<'_>) {
        fields.message(1, &self.metadata);
    }
}

impl Tabular for Thing {
    const COLUMNS: &'static [wire::Column] =
        &[wire::Column::name("Name", "who"), wire::Column::text("Value", "how much")];

    fn metadata(&self) -> wire::ObjectMeta<'_> {
        self.metadata
    }

    fn cells(&self) -> Vec<serde_json::Value> {
        vec![self.metadata.name.into(), self.value.into()]
    }
}

#[test]
fn tables_and_metadata_are_written_as_in_go() {
    let labels = [("app", "web"), ("zone", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels: &'static [(String, String)] = Box::leak(Box::new(labels));
    let created = Some(crate::model::UnixMillis(1_767_323_045_678));
    let metadata = wire::ObjectMeta { name: "p", namespace: "ns", creation_timestamp: created, labels };
    let other = wire::ObjectMeta { name: "n1", ..wire::ObjectMeta::default() };
    let things = [Thing { metadata, value: "10500m" }, Thing { metadata: other, value: "42" }];
    let meta = TypeMeta { kind: "Thing", api_version: "v1" };

    let mut golden = Golden::of("table");
    golden.compare_texts("table: metadata", &Table::new(MetaVersion::V1, Include::Metadata, meta, &things[..1]));
    golden.compare_texts("table: none", &Table::new(MetaVersion::V1, Include::None, meta, &things[1..]));
    golden.finish();

    let mut golden = Golden::of("partial metadata");
    let list = PartialObjectMetadataList::new(MetaVersion::V1, things.iter().map(Tabular::metadata));
    golden.compare("partial metadata", &list);
    golden.finish();

    let object = serde_json::to_value(Table::new(MetaVersion::V1, Include::Object, meta, &things[1..])).unwrap();
    assert_eq!(
        object["rows"][0]["object"],
        serde_json::json!({ "kind": "Thing", "apiVersion": "v1", "metadata": { "name": "n1" }, "value": "42" })
    );
}

#[tokio::test]
async fn one_object_has_the_shapes_of_a_list() {
    let metadata = wire::ObjectMeta { name: "n1", ..wire::ObjectMeta::default() };
    let object = Object::new("Thing", GroupVersion::External, Thing { metadata, value: "42" });
    for (accept, expected) in [
        (
            "application/json",
            r#"{"kind":"Thing","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{"name":"n1"},"value":"42"}"#,
        ),
        (
            "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
            r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"n1"}}"#,
        ),
        (
            TABLE,
            r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"who","priority":0},{"name":"Value","type":"string","format":"","description":"how much","priority":0}],"rows":[{"cells":["n1","42"],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"n1"}}}]}"#,
        ),
    ] {
        let response = Shaped::negotiate_object(&head("", accept)).unwrap().write_object(&object);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(String::from_utf8(body.to_vec()).unwrap().trim_end(), expected, "{accept}");
    }
}
