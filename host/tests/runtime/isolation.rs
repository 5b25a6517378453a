//! Nothing of one call is left for another: each has memory of its own, zeroed, whoever had it before.

use crate::{
    crafted::{Crafted, HARMLESS},
    external, label, probe,
};

/// More calls than the pool has slots, so that each slot was used by the first plugin.
const CALLS: usize = 300;

/// Writes a mark into all of its memory but the first page, a table and a global.
const WRITER: Crafted = Crafted {
    fields: "(table $t 10000 funcref) (global $g (mut i64) (i64.const 0)) (func $mark) (elem declare func $mark)",
    get: "(memory.fill (i32.const 65536) (i32.const 0x5a) (i32.const 983040))
        (table.fill $t (i32.const 0) (ref.func $mark) (i32.const 10000))
        (drop (memory.grow (i32.const 16)))
        (memory.fill (i32.const 1048576) (i32.const 0x5a) (i32.const 1048576))
        (local.set $n (global.get $g))
        (global.set $g (i64.const 0x5a5a))
        local.get $n call $sample",
    ..HARMLESS
};

/// Answers how many words of memory are not zero, how many elements of a table are set, and whether a global is.
const READER: Crafted = Crafted {
    fields: "(table $t 10000 funcref) (global $g (mut i64) (i64.const 0)) (global $at (mut i32) (i32.const 0))",
    get: "(drop (memory.grow (i32.const 16)))
        (local.set $n (global.get $g))
        (global.set $at (i32.const 65536))
        (loop $words
            (local.set $n (i64.add (local.get $n) (i64.extend_i32_u (i64.ne (i64.load (global.get $at)) (i64.const 0)))))
            (global.set $at (i32.add (global.get $at) (i32.const 8)))
            (br_if $words (i32.lt_u (global.get $at) (i32.const 2097152))))
        (global.set $at (i32.const 0))
        (loop $elements
            (local.set $n (i64.add (local.get $n)
                (i64.extend_i32_u (i32.eqz (ref.is_null (table.get $t (global.get $at)))))))
            (global.set $at (i32.add (global.get $at) (i32.const 1)))
            (br_if $elements (i32.lt_u (global.get $at) (i32.const 10000))))
        local.get $n call $sample",
    ..HARMLESS
};

#[tokio::test]
async fn memory_tables_and_globals_of_one_plugin_are_gone_when_another_gets_its_slot() {
    let crowd = |name: &str| probe(name).limits(|limits| limits.concurrency = CALLS);
    let writer = crowd("writer").load_of(WRITER.component()).await;
    let reader = crowd("reader").load_of(READER.component()).await;
    // At once, so that many slots are in use, and again, so that each slot has been.
    for plugin in [&writer, &reader, &writer, &reader] {
        let answers = futures::future::join_all((0..CALLS).map(|_| external(plugin, "shop"))).await;
        for answer in answers {
            let samples = answer.unwrap().samples;
            assert_eq!(samples[0].value, "0".parse().unwrap(), "something was left of another call");
        }
    }
}

#[tokio::test]
async fn the_reader_would_find_what_is_left() {
    // The same scan, after a write in the same call.
    let get = READER.get.replacen("(drop (memory.grow (i32.const 16)))", LEFT_OVER, 1);
    let reader = Crafted { get: get.leak(), ..READER };
    let plugin = probe("left-over").load_of(reader.component()).await;
    assert_eq!(external(&plugin, "shop").await.unwrap().samples[0].value, "3".parse().unwrap());
}

/// Two words and an element.
const LEFT_OVER: &str = "(drop (memory.grow (i32.const 16)))
    (i64.store (i32.const 65536) (i64.const 1)) (i64.store (i32.const 2097144) (i64.const 1))
    (table.set $t (i32.const 9999) (ref.func 0))";

#[tokio::test]
async fn what_one_plugin_keeps_no_other_plugin_and_no_other_namespace_gets() {
    let keeper = |name: &str| probe(name).config("behaviour", "imports");
    let (one, other) = (keeper("keeps").load().await, keeper("looks").load().await);
    let calls = async |plugin, namespace| {
        let samples = external(plugin, namespace).await.unwrap().samples;
        let sample = samples.iter().find(|sample| label(sample, "import") == "state").unwrap();
        sample.value.units()
    };
    assert_eq!(calls(&one, "shop").await, 1);
    assert_eq!(calls(&one, "shop").await, 2);
    assert_eq!(calls(&one, "billing").await, 1, "another namespace");
    assert_eq!(calls(&other, "shop").await, 1, "another plugin");
    let reloaded = keeper("keeps").load().await;
    assert_eq!(calls(&reloaded, "shop").await, 3, "the same plugin, reloaded");
}

#[tokio::test]
async fn random_numbers_differ_from_call_to_call() {
    let plugin = probe("random").config("behaviour", "wasi").load().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let samples = external(&plugin, "shop").await.unwrap().samples;
        let random = samples.iter().find(|sample| label(sample, "tried") == "random").unwrap();
        assert!(seen.insert(label(random, "detail").to_owned()), "the same twice: {seen:?}");
    }
}
