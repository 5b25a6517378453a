//! `tls` of plugin.yaml: which authorities the plugin's backends are verified by, besides the adapter's own. There is no switch
//! that turns verification off.

use super::{
    ManifestError,
    fields::{Field, Fields},
    object_name,
};

/// A text in a ConfigMap of the plugin's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapKey {
    /// The ConfigMap's name.
    pub config_map: String,
    /// The key in its `data`.
    pub key: String,
}

/// The value of `tls`: where the certificates of more authorities are, in PEM.
pub(super) fn parse(field: Field) -> Result<ConfigMapKey, ManifestError> {
    let mut fields = Fields::of(field, &["caFrom"])?;
    let ca_from = fields.require("caFrom", "`{configMap: NAME, key: KEY}`")?;
    let mut fields = Fields::of(ca_from, &["configMap", "key"])?;
    let expected = "a key of the ConfigMap, as in `ca.crt`";
    Ok(ConfigMapKey {
        config_map: object_name(fields.require("configMap", "the name of a ConfigMap")?)?,
        key: fields.require("key", expected)?.text(expected)?,
    })
}
