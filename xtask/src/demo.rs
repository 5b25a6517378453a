//! `cargo xtask demo`: the adapter on loopback with two real plugins, asked by curl, changed while it runs. Every answer is
//! compared with what it must be, so the demo fails where the adapter does.
//!
//! Never listens on, or asks, anything but loopback, and leaves no process and no file behind. An interrupted run can leave
//! target/demo, which the next one replaces.

mod adapter;
mod backend;
mod curl;
mod plugins;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use self::{adapter::Adapter, backend::Backend, curl::Curl, plugins::Plugins};
use crate::{guests, shell};

const HELP: &str = "\
The adapter with real plugins on this machine, without a cluster: asked, changed while it runs, stopped.

Usage: cargo xtask demo [--keep]

  --keep  leave it running until Ctrl-C, and print what to try";

/// How long the adapter may take to take up an edited file. It takes less than a second; a busy machine more.
const TAKES_UP: Duration = Duration::from_secs(30);

const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";
const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const ORDERS: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue_depth?labelSelector=queue%3Dorders";
const BERLIN: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/open_orders?labelSelector=city%3Dberlin";
const FRONT: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/services/front/requests_per_second";

/// Builds what is missing and shows it all.
pub(crate) fn run(options: &[String]) -> Result<()> {
    let keep = match options {
        [] => false,
        [option] if option == "--keep" => true,
        [option] if option == "--help" || option == "-h" => {
            println!("{HELP}");
            return Ok(());
        }
        _ => bail!("`{}` are no options of `cargo xtask demo`; the only one is --keep", options.join(" ")),
    };
    let target = shell::target_directory();
    fs::create_dir_all(&target)?;
    let lock = File::create(target.join("demo.lock"))?;
    lock.try_lock().context("another demo is running in this folder; stop it first")?;
    let curl = Curl::find()?;
    step("building what is missing: the plugins, then the adapter (some minutes the first time)");
    guests::run(&[])?;
    let program = shell::program("wasm-metrics-adapter")?;
    let folder = target.join("demo");
    remove(&folder)?;
    let outcome = in_folder(&folder, &program, curl, keep);
    remove(&folder)?;
    outcome
}

fn in_folder(folder: &Path, program: &Path, curl: Curl, keep: bool) -> Result<()> {
    let backend = Backend::start(17)?;
    let plugins = Plugins::create(folder, backend.port())?;
    step(
        "starting the adapter with two plugins: `queues` (values in its configuration) and `orders` (from a JSON API)",
    );
    let mut adapter = Adapter::start(program, folder, &plugins, curl)?;
    match show(&mut adapter, &plugins, &backend, keep) {
        Ok(()) => adapter.stop(),
        Err(error) => {
            println!("\nthe end of the adapter's log:\n{}", adapter.log_tail());
            Err(error)
        }
    }
}

fn show(adapter: &mut Adapter, plugins: &Plugins, backend: &Backend, keep: bool) -> Result<()> {
    let took = adapter.wait_until_ready()?;
    println!("ready {} ms after its start, both plugins compiled", took.as_millis());
    discovery(adapter)?;
    values(adapter, backend)?;
    change(adapter, plugins)?;
    break_and_mend(adapter, plugins)?;
    if keep {
        leave_running(adapter, plugins)?;
    }
    step("stopping the adapter");
    Ok(())
}

fn discovery(adapter: &Adapter) -> Result<()> {
    step("which metrics are there? Discovery, as the API server asks for it");
    for (path, expected) in [
        (EXTERNAL, ["open_orders", "queue_depth"].as_slice()),
        (CUSTOM, ["pods/http_requests", "services/requests_per_second"].as_slice()),
    ] {
        let answer = adapter.show(path)?.json()?;
        let resources = answer.get("resources").and_then(Value::as_array).context("the answer has no `resources`")?;
        let mut names: Vec<&str> =
            resources.iter().filter_map(|resource| resource.get("name").and_then(Value::as_str)).collect();
        names.sort_unstable();
        println!("  the names in it: {}", names.join(", "));
        ensure!(names == expected, "wrong answer: the names should be {}", expected.join(", "));
    }
    Ok(())
}

fn values(adapter: &Adapter, backend: &Backend) -> Result<()> {
    step("what do they say? The questions that a HorizontalPodAutoscaler asks");
    expect(&adapter.show(ORDERS)?, "42")?;
    expect(&adapter.show(FRONT)?, "2500m")?;
    expect(&adapter.show(BERLIN)?, "17")?;
    println!("\nthe last one came from an HTTP backend on port {}, whose number is now 23", backend.port());
    backend.set(23);
    until(adapter, BERLIN, "17", "23")?;
    expect(&adapter.show(BERLIN)?, "23")
}

fn change(adapter: &Adapter, plugins: &Plugins) -> Result<()> {
    step("editing queues.yaml while it runs: 42 becomes 77");
    let edited = plugins.set_queue(77)?;
    let asked = until(adapter, ORDERS, "42", "77")?;
    let took = edited.elapsed().as_millis();
    println!("new value {took} ms after the edit; {asked} answers until then, all of them valid");
    expect(&adapter.show(ORDERS)?, "77")
}

fn break_and_mend(adapter: &Adapter, plugins: &Plugins) -> Result<()> {
    step("breaking queues.yaml: `config` becomes `confg`");
    plugins.break_queue()?;
    let words = wait(|| {
        adapter.ensure_serves(ORDERS, "77")?;
        Ok(adapter.log_line(&["WARN", "confg"]))
    })
    .context("the adapter did not say that the file is wrong")?;
    println!("the adapter says:\n  {words}");
    println!("and goes on with what it had:");
    expect(&adapter.show(ORDERS)?, "77")?;
    step("mending it: 100");
    let edited = plugins.set_queue(100)?;
    until(adapter, ORDERS, "77", "100")?;
    println!("new value {} ms after the edit", edited.elapsed().as_millis());
    expect(&adapter.show(ORDERS)?, "100")
}

fn leave_running(adapter: &mut Adapter, plugins: &Plugins) -> Result<()> {
    step("it stays until Ctrl-C. Try");
    for path in [ORDERS, FRONT, BERLIN, "/apis", "/readyz?verbose", "/metrics"] {
        println!("  {}", adapter.command(path));
    }
    println!("edit a number in\n  {}", plugins.queues().display());
    println!("and see what the adapter says of it in\n  {}", adapter.log().display());
    adapter.wait()
}

/// Asks until the answer is `new`, and gives how often it was asked. Any other answer than `old` before is wrong.
fn until(adapter: &Adapter, path: &str, old: &str, new: &str) -> Result<u32> {
    let mut asked = 0;
    wait(|| {
        asked += 1;
        let answer = adapter.get(path)?;
        let value = answer.value()?;
        ensure!(value == old || value == new, "wrong answer: {}", answer.body);
        Ok((value == new).then_some(asked))
    })
    .with_context(|| format!("the value did not change from {old} to {new}"))
}

/// Looks until there is something, for [`TAKES_UP`] at most.
fn wait<T>(mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    let mut told = 0;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        let waited = began.elapsed();
        ensure!(waited < TAKES_UP, "waited {} s in vain", waited.as_secs());
        if waited.as_secs() / 5 > told {
            told = waited.as_secs() / 5;
            println!("  {} s, still waiting", waited.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Prints the answer, which must be one sample of this value.
fn expect(answer: &curl::Answer, value: &str) -> Result<()> {
    println!("  {}", answer.items());
    let found = answer.value()?;
    ensure!(found == value, "wrong answer: the value should be {value}");
    Ok(())
}

fn step(text: &str) {
    println!("\n== {text}");
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
