//! Components that no toolchain makes: written by hand to break the rules between guest and host, to misbehave before they are
//! asked anything, and to be made of too many parts.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use wasm_metrics_adapter::runtime::{Plugin, Validation};

use crate::{
    Probe,
    compiling::with_module,
    external, external_where,
    faults::{fault_of, internal},
    probe, support,
};

/// The parts of a core module that answers `external-metrics`, in WebAssembly text.
pub(crate) struct Crafted {
    /// Fields of the module besides the functions below.
    pub(crate) fields: &'static str,
    /// Where arguments are put: parameters old pointer, old size, alignment, size.
    pub(crate) realloc: &'static str,
    /// Leaves the address of the result of `list-metrics`.
    pub(crate) list: &'static str,
    /// Leaves the address of the result of `get`; six parameters and the local `$n`, an i64.
    pub(crate) get: &'static str,
    /// After each answer was read.
    pub(crate) post: &'static str,
}

/// One that answers no name and one sample of value 0.
pub(crate) const HARMLESS: Crafted = Crafted {
    fields: "",
    realloc: "i32.const 1024",
    // Zeros: a good answer with no items.
    list: "i32.const 64",
    get: "i64.const 0 call $sample",
    post: "",
};

impl Crafted {
    pub(crate) fn component(&self) -> Bytes {
        let Self { fields, realloc, list, get, post } = self;
        let module = format!(
            r#"(core module $m
                (memory (export "memory") 16)
                {fields}
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "list") (result i32) {list})
                (func $sample (param $value i64) (result i32)
                    (i32.store (i32.const 4) (i32.const 128)) ;; the list
                    (i32.store (i32.const 8) (i32.const 1)) ;; of one item
                    (i64.store (i32.const 144) (local.get $value))
                    i32.const 0)
                (func (export "get") (param i32 i32 i32 i32 i32 i32) (result i32) (local $n i64) {get})
                (func (export "post") (param i32) {post}))"#
        );
        wat::parse_str(format!("(component {module} {EXTERNAL_METRICS})")).unwrap().into()
    }

    pub(crate) async fn load(&self, name: &str) -> Plugin {
        self.load_as(probe(name)).await
    }

    async fn load_as(&self, probe: Probe) -> Plugin {
        probe.load_of(self.component()).await
    }
}

/// wit/v0.1/metrics.wit around the module's functions.
const EXTERNAL_METRICS: &str = r#"
    (core instance $i (instantiate $m))
    (type $reason0 (enum "metric-not-found" "object-not-found" "bad-request" "rate-limited" "unavailable" "unauthorized" "timeout" "internal"))
    (export $reason "reason" (type $reason0))
    (type $failure0 (record (field "reason" $reason) (field "message" string) (field "retry-after-ms" (option u32))))
    (export $failure "failure" (type $failure0))
    (type $operator0 (enum "in" "not-in" "exists" "does-not-exist" "greater-than" "less-than"))
    (export $operator "operator" (type $operator0))
    (type $requirement0 (record (field "key" string) (field "operator" $operator) (field "values" (list string))))
    (export $requirement "requirement" (type $requirement0))
    (type $label0 (record (field "key" string) (field "value" string)))
    (export $label "label" (type $label0))
    (type $quantity0 (record (field "digits" s64) (field "exponent" s8)))
    (export $quantity "quantity" (type $quantity0))
    (type $number0 (variant (case "integer" s64) (case "float" f64) (case "exact" $quantity)))
    (export $number "number" (type $number0))
    (type $sample0 (record
        (field "labels" (list $label)) (field "value" $number) (field "timestamp" (option u64)) (field "window-ms" (option u32))))
    (export $sample "sample" (type $sample0))
    (func $list (result (result (list string) (error $failure)))
        (canon lift (core func $i "list") (memory (core memory $i "memory")) (realloc (core func $i "realloc")) (post-return (core func $i "post"))))
    (func $get (param "namespace" string) (param "metric" string) (param "series" (list $requirement))
        (result (result (list $sample) (error $failure)))
        (canon lift (core func $i "get") (memory (core memory $i "memory")) (realloc (core func $i "realloc")) (post-return (core func $i "post"))))
    (instance $external (export "list-metrics" (func $list)) (export "get" (func $get)))
    (export "wasm-metrics-adapter:plugin/external-metrics@0.1.0" (instance $external))
"#;

#[tokio::test]
async fn a_harmless_one_answers() {
    let plugin = HARMLESS.load("harmless").await;
    let samples = external(&plugin, "shop").await.unwrap().samples;
    assert_eq!(samples.len(), 1);
    assert!(plugin.list().await.unwrap().external.is_empty());
    assert_eq!(plugin.validate().await, Validation::Good);
}

#[tokio::test]
async fn answers_that_lie_outside_of_memory_or_break_their_types_are_faults() {
    let harmless = HARMLESS;
    for (name, crafted, cause) in [
        ("realloc-outside", Crafted { realloc: "i32.const -1", ..harmless }, "beyond end of memory"),
        ("realloc-traps", Crafted { realloc: "unreachable", ..harmless }, "unreachable"),
        ("result-outside", Crafted { get: "i32.const -8", ..harmless }, "out of bounds"),
        ("result-unaligned", Crafted { get: "i32.const 3", ..harmless }, "not aligned"),
        (
            "list-outside",
            Crafted {
                get: "(i32.store (i32.const 4) (i32.const 128)) (i32.store (i32.const 8) (i32.const 0x7fffffff)) i32.const 0",
                ..harmless
            },
            "out of bounds",
        ),
        (
            "list-unaligned",
            Crafted {
                get: "(i32.store (i32.const 4) (i32.const 129)) (i32.store (i32.const 8) (i32.const 1)) i32.const 0",
                ..harmless
            },
            "not aligned",
        ),
        (
            "no-such-variant",
            Crafted { get: "(i32.store8 (i32.const 0) (i32.const 7)) i32.const 0", ..harmless },
            "discriminant",
        ),
        (
            "no-such-number",
            Crafted { get: "(i32.store8 (i32.const 136) (i32.const 9)) i64.const 0 call $sample", ..harmless },
            "discriminant",
        ),
        ("post-return-traps", Crafted { post: "unreachable", ..harmless }, "unreachable"),
    ] {
        let error = fault_of(name, crafted.load(name).await).await;
        assert!(internal(&error).contains(cause), "{name}: {error}");
        assert!(!error.message.contains("could not run"), "{name}: it is not the adapter's fault: {error}");
    }
    let unaligned = Crafted { realloc: "i32.const 1025", ..harmless }.load("realloc-unaligned").await;
    let error = external_where(&unaligned, "shop", "queue=orders").await.unwrap_err();
    assert!(internal(&error).contains("aligned"), "{error}");
}

#[tokio::test]
async fn a_listed_name_that_is_no_utf8_is_a_fault() {
    // One name of one byte, 0xff.
    let list = "(i32.store (i32.const 4) (i32.const 128)) (i32.store (i32.const 8) (i32.const 1))
        (i32.store (i32.const 128) (i32.const 256)) (i32.store (i32.const 132) (i32.const 1))
        (i32.store8 (i32.const 256) (i32.const 0xff)) i32.const 0";
    let plugin = Crafted { list, ..HARMLESS }.load("no-utf8").await;
    let error = plugin.list().await.unwrap_err();
    assert!(internal(&error).contains("utf-8"), "{error}");
    assert!(external(&plugin, "shop").await.is_ok(), "its other answers are its own affair");
}

#[tokio::test]
async fn guests_that_spin_outside_of_their_answer_meet_the_cpu_limit() {
    for (name, crafted) in [
        ("spins-in-realloc", Crafted { realloc: "(loop $l br $l) unreachable", ..HARMLESS }),
        ("spins-in-post-return", Crafted { post: "(loop $l br $l)", ..HARMLESS }),
        ("spins-at-start", Crafted { fields: "(func $s (loop $l br $l)) (start $s)", ..HARMLESS }),
    ] {
        let probe = probe(name).limits(|limits| limits.cpu = Duration::from_millis(50));
        let error = fault_of(name, crafted.load_as(probe).await).await;
        assert!(internal(&error).starts_with("the plugin used more than 50ms of CPU time"), "{name}: {error}");
    }
}

#[tokio::test]
async fn guests_that_fail_at_their_start_are_faults() {
    let tables =
        "(table $t 1 funcref) (func $s (drop (table.grow $t (ref.null func) (i32.const 10000000)))) (start $s)";
    let memory = "(func $s (drop (memory.grow (i32.const 60000)))) (start $s)";
    for (name, fields, cause) in [
        ("traps-at-start", "(func $s unreachable) (start $s)", "the plugin stopped with a trap"),
        ("grows-memory-at-start", memory, "the plugin needs more than 64 MiB of memory"),
        ("grows-a-table-at-start", tables, "the plugin needs tables of more than 100000 elements"),
        (
            "many-tables",
            "(table 60000 funcref) (table 60000 funcref)",
            "the plugin needs tables of more than 100000 elements",
        ),
    ] {
        let error = fault_of(name, Crafted { fields, ..HARMLESS }.load(name).await).await;
        assert!(internal(&error).starts_with(cause), "{name}: {error}");
    }
}

#[tokio::test]
async fn guests_of_too_many_parts_are_faults() {
    for (name, field, cause) in [
        ("many-memories", "(memory 0)", "the plugin has more memories or tables than the adapter runs (memory count"),
        (
            "many-small-tables",
            "(table 0 funcref)",
            "the plugin has more memories or tables than the adapter runs (table count",
        ),
    ] {
        let module = format!("(module {})", field.repeat(60));
        let component = with_module(&with_module(&HARMLESS.component(), &module), &module);
        let error = fault_of(name, probe(name).load_of(component).await).await;
        assert!(internal(&error).starts_with(cause), "{name}: {error}");
    }
    let crafted = many_instances(100);
    let error = fault_of("many-instances", probe("many-instances").load_of(crafted.clone()).await).await;
    assert_eq!(
        internal(&error),
        "the plugin has more than 100 core instances; compose it of less, or raise limits.instances"
    );
    let allowed = probe("some-instances").limits(|limits| limits.instances = 101);
    assert!(external(&allowed.load_of(crafted).await, "shop").await.is_ok());
}

/// The harmless one with `more` core instances.
fn many_instances(more: usize) -> Bytes {
    let mut parts = String::from("(core module $empty)");
    for _ in 0..more {
        write!(parts, "(core instance (instantiate $empty))").unwrap();
    }
    let module = r#"(core module $m
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "list") (result i32) i32.const 0)
        (func (export "get") (param i32 i32 i32 i32 i32 i32) (result i32) i32.const 0)
        (func (export "post") (param i32)))"#;
    wat::parse_str(format!("(component {module} {EXTERNAL_METRICS} {parts})")).unwrap().into()
}

#[tokio::test]
async fn settings_that_spin_or_trap_refuse_the_load() {
    for (behaviour, cause) in [
        ("spins", "settings.validate failed: the plugin used more than 50ms of CPU time"),
        ("traps", "settings.validate failed: the plugin stopped with a trap"),
        ("hogs", "settings.validate failed: the plugin needs more than 64 MiB of memory"),
    ] {
        let plugin = probe(&format!("validate-{behaviour}")).config("behaviour", behaviour).config("in", "validate");
        let plugin =
            plugin.limits(|limits| limits.cpu = Duration::from_millis(if behaviour == "spins" { 50 } else { 30_000 }));
        let Validation::Refused(message) = plugin.load().await.validate().await else {
            panic!("{behaviour}: not refused")
        };
        assert!(message.starts_with(cause), "{message}");
    }
    let sleeps = probe("validate-sleeps").config("behaviour", "sleeps").config("in", "validate");
    let sleeps = sleeps.limits(|limits| limits.timeout = Duration::from_millis(300)).load().await;
    assert!(
        matches!(sleeps.validate().await, Validation::Undecided(_)),
        "a backend that is slow today refuses no load"
    );
}

#[tokio::test]
async fn a_component_that_exports_half_of_an_interface_does_not_load() {
    let text = r#"(component (instance $empty)
        (export "wasm-metrics-adapter:plugin/external-metrics@0.1.0" (instance $empty)))"#;
    let world = support::world(&crate::METRICS).await;
    let code = world.runtime.compiler().compile(wat::parse_str(text).unwrap().into()).await.unwrap();
    let refused = world.runtime.load(&code, probe("half").settings().await).err().unwrap();
    assert!(refused.to_string().contains("exports none of external-metrics"), "{refused}");
    let minimal = probe("after-half").load_of(support::guest("minimal")).await;
    assert!(minimal.list().await.is_ok(), "the next one does");
}
