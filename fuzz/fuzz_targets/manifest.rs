//! plugin.yaml, as whoever may write ConfigMaps writes it: a configuration, or a refusal in words, and never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_metrics_adapter::manifest::PluginConfiguration;

fuzz_target!(|text: &str| {
    match PluginConfiguration::parse(Some(text)) {
        Ok(parsed) => assert_eq!(PluginConfiguration::parse(Some(text)), Ok(parsed), "the same text says the same"),
        Err(refused) => {
            let words = refused.to_string();
            assert!(!words.is_empty());
            assert!(words.len() <= text.len() + 1024, "a refusal of {} bytes for {} bytes", words.len(), text.len());
        }
    }
});
