//! `cache`, `onError` and `guard`: how long values are kept, what stands in for them, and which are believed.

use std::time::Duration;

use super::{
    ManifestError,
    document::Value,
    fields::{Field, Fields, invalid},
    limits::{count, duration},
};
use crate::model::{Fallback, Guard, Quantity, ValuePolicy};

/// At most as old as an autoscaler's slowest reaction, its stabilization of 5 minutes.
const TTL: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(5 * 60));
/// Beyond an hour a value tells nothing of the present load.
const STALE_FOR: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(60 * 60));
/// A day: some billing and batch metrics come daily.
const MAX_AGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));

/// Three failures in a row are no accident.
const AFTER_FAILURES: u32 = 3;
const AFTER_FAILURES_BOUNDS: (i64, i64) = (1, 100);
/// Long enough to notice and to mend; a fallback for ever would hide that the metric is gone.
const FALLBACK_LASTS: Duration = Duration::from_secs(10 * 60);
const FALLBACK_LASTS_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
/// A factor of 1 would freeze the value; one beyond a million bounds nothing.
const FACTOR: (i64, i64) = (1, 1_000_000);

/// Takes the three sections.
pub(super) fn parse(fields: &mut Fields) -> Result<ValuePolicy, ManifestError> {
    let mut policy = fields.take("cache").map(cache).transpose()?.unwrap_or_default();
    policy.fallback = fields.take("onError").map(on_error).transpose()?.flatten();
    policy.guard = fields.take("guard").map(|field| guard(field, policy.stale_for)).transpose()?;
    Ok(policy)
}

fn cache(field: Field) -> Result<ValuePolicy, ManifestError> {
    let mut fields = Fields::of(field, &["ttl", "staleFor", "maxAge"])?;
    let mut policy = ValuePolicy::default();
    for (name, bounds, value) in [
        ("ttl", TTL, &mut policy.ttl),
        ("staleFor", STALE_FOR, &mut policy.stale_for),
        ("maxAge", MAX_AGE, &mut policy.max_age),
    ] {
        if let Some(field) = fields.take(name) {
            *value = duration(field, bounds)?;
        }
    }
    Ok(policy)
}

fn on_error(field: Field) -> Result<Option<Fallback>, ManifestError> {
    let Some(field) = Fields::of(field, &["fallback"])?.take("fallback") else { return Ok(None) };
    let mut fields = Fields::of(field, &["value", "afterFailures", "for"])?;
    let value = quantity(fields.require("value", "what is answered, a quantity as in `\"5\"`")?)?;
    let after_failures = fields.take("afterFailures").map(|field| count(field, AFTER_FAILURES_BOUNDS)).transpose()?;
    let lasts = fields.take("for").map(|field| duration(field, FALLBACK_LASTS_BOUNDS)).transpose()?;
    Ok(Some(Fallback {
        value,
        after_failures: after_failures.unwrap_or(AFTER_FAILURES),
        lasts: lasts.unwrap_or(FALLBACK_LASTS),
    }))
}

/// A guard without `min` refuses what is negative: the HPA controller divides sums by targets, and a negative one is no load.
fn guard(field: Field, stale_for: Duration) -> Result<Guard, ManifestError> {
    let mut fields = Fields::of(field, &["min", "max", "maxChangeFactor"])?;
    let min = fields.take("min").map(quantity).transpose()?.unwrap_or_default();
    let max = fields.take("max").map(|field| maximum(field, min)).transpose()?;
    let max_change_factor = fields.take("maxChangeFactor").map(|field| factor(field, stale_for)).transpose()?;
    Ok(Guard { min, max, max_change_factor })
}

fn maximum(field: Field, min: Quantity) -> Result<Quantity, ManifestError> {
    let (path, found) = (field.path.clone(), field.value.clone());
    let max = quantity(field)?;
    if max < min {
        Err(invalid(path, &found, &format!("a quantity of at least {min}, which is `guard.min`")))
    } else {
        Ok(max)
    }
}

fn factor(field: Field, stale_for: Duration) -> Result<Quantity, ManifestError> {
    let (path, found) = (field.path.clone(), field.value.clone());
    if stale_for.is_zero() {
        let expected = "nothing there, or a `cache.staleFor` above 0s: values are compared with those of that time";
        return Err(invalid(path, &found, expected));
    }
    let (least, most) = (Quantity::integer(FACTOR.0), Quantity::integer(FACTOR.1));
    match quantity(field) {
        Ok(factor) if least < factor && factor <= most => Ok(factor),
        _ => Err(invalid(
            path,
            &found,
            &format!("a number above {least} and at most {}, as in `10` or `\"1.5\"`", FACTOR.1),
        )),
    }
}

/// A text or a number; as everywhere in Kubernetes, quantities are better in quotes.
fn quantity(field: Field) -> Result<Quantity, ManifestError> {
    let parsed = match &field.value {
        Value::String(text) | Value::Number(text) => text.parse().ok(),
        _ => None,
    };
    parsed.ok_or_else(|| invalid(field.path, &field.value, "a quantity, as in `\"5\"`, `\"2500m\"` or `\"1M\"`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::PluginConfiguration;

    fn parse(body: &str) -> Result<ValuePolicy, String> {
        let text = format!("apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\n{body}");
        PluginConfiguration::parse(Some(&text)).map(|parsed| parsed.values).map_err(|error| error.to_string())
    }

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let defaults = parse("").unwrap();
        assert_eq!(defaults, parse("cache: {}\nonError: {}").unwrap());
        assert_eq!((defaults.ttl, defaults.stale_for), (Duration::from_secs(1), Duration::from_secs(60)));
        assert_eq!((defaults.max_age, defaults.fallback, defaults.guard), (Duration::from_secs(300), None, None));
        let fallback = parse("onError: {fallback: {value: '5'}}").unwrap().fallback.unwrap();
        assert_eq!((fallback.after_failures, fallback.lasts), (3, Duration::from_secs(600)));
        let guard = parse("guard: {max: '10'}").unwrap().guard.unwrap();
        assert_eq!(guard.min, Quantity::default(), "a guard refuses negative values unless it says otherwise");
    }

    #[test]
    fn what_is_said_is_taken() {
        let policy = parse(
            "cache: {ttl: 0s, staleFor: 2m, maxAge: 1h}\nonError: {fallback: {value: 2500m, afterFailures: 5, for: 30s}}\n\
             guard: {min: '-1', max: 1M, maxChangeFactor: 1.5}",
        );
        let (fallback, guard) = (
            Fallback { value: quantity("2500m"), after_failures: 5, lasts: Duration::from_secs(30) },
            Guard { min: quantity("-1"), max: Some(quantity("1M")), max_change_factor: Some(quantity("1.5")) },
        );
        let (ttl, stale_for, max_age) = (Duration::ZERO, Duration::from_secs(120), Duration::from_secs(3600));
        let expected = ValuePolicy { ttl, stale_for, max_age, fallback: Some(fallback), guard: Some(guard) };
        assert_eq!(policy, Ok(expected));
    }

    #[test]
    fn what_can_not_be_names_the_field_and_the_fix() {
        for (body, field, fix) in [
            ("cache: {ttl: 6m}", "`cache.ttl`", "from 0ns to 300s"),
            ("cache: {ttl: 1}", "`cache.ttl`", "as in `500ms`"),
            ("cache: {staleFor: 2h}", "`cache.staleFor`", "to 3600s"),
            ("cache: {maxAge: 0s}", "`cache.maxAge`", "from 1s"),
            ("cache: {staleFro: 1s}", "`cache.staleFro`", "did you mean `staleFor`?"),
            ("onError: {fallback: {}}", "`onError.fallback.value`", "a quantity as in"),
            ("onError: {fallback: {value: five}}", "`onError.fallback.value`", "a quantity"),
            (
                "onError: {fallback: {value: '5', afterFailures: 0}}",
                "`onError.fallback.afterFailures`",
                "from 1 to 100",
            ),
            ("onError: {fallback: {value: '5', for: 25h}}", "`onError.fallback.for`", "to 86400s"),
            ("onError: {falback: {value: '5'}}", "`onError.falback`", "did you mean `fallback`?"),
            ("guard: {min: .5}", "`guard.min`", "quote it"),
            ("guard: {min: '5', max: '4'}", "`guard.max`", "at least 5"),
            ("guard: {max: -1}", "`guard.max`", "at least 0, which is `guard.min`"),
            ("guard: {maxChangeFactor: 1}", "`guard.maxChangeFactor`", "above 1 and at most 1000000"),
            ("guard: {maxChangeFactor: 1000001}", "`guard.maxChangeFactor`", "at most 1000000"),
            (
                "cache: {staleFor: 0s}\nguard: {maxChangeFactor: 2}",
                "`guard.maxChangeFactor`",
                "`cache.staleFor` above 0s",
            ),
        ] {
            let error = parse(body).expect_err(body);
            assert!(error.contains(field) && error.contains(fix), "{body}: {error}");
        }
    }
}
