//! Waiting for a condition of a real system, with a deadline. Whoever waits for something waits here;
//! beside it only load and outages let time pass.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the condition gives a value, and says what was missing when it never did.
///
/// # Errors
/// Fails with the condition's last complaint when the time is up.
pub async fn eventually<T>(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match condition().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("waited {within:?} in vain until {what}"));
            }
            Err(_) => {}
        }
    }
}

/// Looks at a condition again and again for a whole period: it must hold every time.
///
/// # Errors
/// Fails at the first look at which the condition does not hold.
pub async fn throughout(what: &str, period: Duration, mut condition: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + period;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while Instant::now() < deadline {
        ticks.tick().await;
        condition().await.with_context(|| format!("it did not stay so that {what}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_complaint_is_reported() {
        let error = eventually("pigs fly", Duration::ZERO, async || -> Result<()> { anyhow::bail!("no wings") })
            .await
            .unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0ns in vain until pigs fly: no wings");
    }

    #[tokio::test]
    async fn a_condition_that_breaks_is_noticed() {
        let mut left = 2;
        let error = throughout("two stay", Duration::from_secs(30), async || {
            left -= 1;
            anyhow::ensure!(left >= 0, "none left");
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(format!("{error:#}"), "it did not stay so that two stay: none left");
    }
}
