//! YAML as sigs.k8s.io/yaml makes it of JSON: keys sorted, items not indented below their key, texts quoted that YAML 1.1 takes for
//! something else. Where Go quotes singly, folds a line after 80 columns or writes a literal block, texts are quoted doubly here.

use serde::Serialize;

use super::Unwritable;

pub(super) fn write(object: &impl Serialize) -> Result<Vec<u8>, Unwritable> {
    // A `Value` keeps its keys sorted.
    let value = serde_json::to_value(object)?;
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(&value, options)?.into_bytes())
}
