//! The operator's policy: ceilings, or a refusal in words, and never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_metrics_adapter::policy;

fuzz_target!(|text: &str| {
    match policy::parse(text) {
        Ok(policy) => {
            for (namespace, is_own) in [("adapter", true), ("tenant", false)] {
                let _ = policy.ceilings(namespace, is_own);
            }
        }
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
});
