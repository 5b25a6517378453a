//! What the adapter costs. Nothing is asserted that depends on the machine; the figures are for the report.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{plugins, programs};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::world::{EXTERNAL, World, values_of};

const PLUGINS: usize = 10;
const REQUESTS: usize = 4_000;
const PARALLEL: usize = 16;

/// Ten plugins more, then memory at rest, and CPU of one external request.
pub(crate) async fn cpu_memory_and_start(world: &mut World) -> Result<()> {
    for number in 0..PLUGINS {
        world.apply_static(&format!("weight-{number}"), &[&format!("weight_{number} {number}")], &[]).await?;
    }
    for number in 0..PLUGINS {
        world.expect_values(&format!("{EXTERNAL}/namespaces/default/weight_{number}"), &[&number.to_string()]).await?;
    }
    let replica = world.adapter.replicas().first().context("there are two replicas")?;
    let process = replica.process_id().context("it runs")?;
    let memory = resident_kib(process)?;
    let (cpu_before, began) = (cpu_milliseconds(process)?, Instant::now());
    let path = format!("{EXTERNAL}/namespaces/default/weight_3");
    stream::iter(0..REQUESTS)
        .map(|_| async {
            let answer = replica.get(&path).await?;
            ensure!(values_of(&answer)? == ["3"], "{}", answer.text());
            anyhow::Ok(())
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<()>>()
        .await?;
    let (cpu, took) = (cpu_milliseconds(process)? - cpu_before, began.elapsed());
    let build =
        if programs::adapter()?.components().any(|part| part.as_os_str() == "release") { "release" } else { "debug" };
    let each = cpu as f64 * 1_000.0 / REQUESTS as f64;
    world.figures.push(format!("{build} build: {each:.0} us of CPU for each of {REQUESTS} external requests, {PARALLEL} in parallel, answers kept for a second, in {took:.1?}"));
    world
        .figures
        .push(format!("{build} build: {} MiB resident with ten plugins more than the other cases left", memory >> 10));
    for number in 0..PLUGINS {
        plugins::delete(&world.admin, &format!("weight-{number}")).await?;
    }
    Ok(())
}

/// `VmRSS` of proc(5).
fn resident_kib(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("there is no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// User and system time of all threads, of proc(5): fields 14 and 15, in ticks of 10 ms.
fn cpu_milliseconds(process: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, after_name) = stat.rsplit_once(") ").context("it has a name in brackets")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |field: usize| -> Result<u64> {
        Ok(fields.get(field - 3).context("it is shorter than proc(5) says")?.parse()?)
    };
    Ok((ticks(14)? + ticks(15)?) * 10)
}
