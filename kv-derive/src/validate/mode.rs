//! How rows are stored: for how long, how safely, and where.

use syn::LitStr;

use crate::attribute::NumberOrText;
use crate::model::Durability;

/// A century: longer is a mistake in the unit.
const TTL_SECONDS_MAX: u64 = 100 * 365 * 24 * 60 * 60;

/// A day: longer is a mistake in the unit.
const TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Turns the input into a model, which is fit to expand only if nothing was reported.
pub(super) fn ttl_seconds(ttl: &NumberOrText) -> syn::Result<u64> {
    let (seconds, span) = match ttl {
        NumberOrText::Number(number) => {
            if !number.suffix().is_empty() {
                let message = "write the seconds without a suffix, or quote the unit: `\"15m\"`";
                return Err(syn::Error::new_spanned(number, message));
            }
            (number.base10_parse::<u64>().ok(), number.span())
        }
        NumberOrText::Text(text) => (duration_seconds(&text.value()), text.span()),
    };
    seconds.filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds)).ok_or_else(|| {
        let message = "`ttl` is a whole number of seconds, or a quoted one with its unit \
                       (s, m, h, d), such as `\"15m\"`; at least a second, at most a century";
        syn::Error::new(span, message)
    })
}

pub(super) fn durability(mode: &LitStr) -> syn::Result<Durability> {
    parse_durability(&mode.value()).ok_or_else(|| {
        let message = "`durability` is `\"fast\"`, `\"replicated(1, 100ms)\"` (how many replicas, \
                       and how long to wait for them) or `\"fsynced(1s)\"`; at least one replica, \
                       and a time in ms, s or m of at most a day";
        syn::Error::new(mode.span(), message)
    })
}

/// The variant of `StorageScheme` that a name stands for.
pub(super) fn scheme(name: &LitStr) -> syn::Result<&'static str> {
    Ok(match name.value().as_str() {
        "write_behind" => "WriteBehind",
        "write_through" => "WriteThrough",
        "cache_aside" => "CacheAside",
        "redis_only" => "RedisOnly",
        "postgres_only" => "PostgresOnly",
        _ => {
            let message = "`scheme` is `\"write_behind\"`, `\"write_through\"`, \
                           `\"cache_aside\"`, `\"redis_only\"` or `\"postgres_only\"`";
            return Err(syn::Error::new(name.span(), message));
        }
    })
}

fn parse_durability(text: &str) -> Option<Durability> {
    if text == "fast" {
        return Some(Durability::Fast);
    }
    let (mode, arguments) = text.strip_suffix(')')?.split_once('(')?;
    match mode {
        "replicated" => {
            let (replicas, timeout) = arguments.split_once(',')?;
            let replicas = replicas.trim().parse().ok().filter(|&replicas| replicas > 0)?;
            Some(Durability::Replicated { replicas, timeout_ms: timeout_ms(timeout.trim())? })
        }
        "fsynced" => Some(Durability::Fsynced { timeout_ms: timeout_ms(arguments.trim())? }),
        _ => None,
    }
}

/// `2s` as 2,000.
fn timeout_ms(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        _ => return None,
    };
    let milliseconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=TIMEOUT_MS_MAX).contains(&milliseconds).then_some(milliseconds)
}

/// `15m` as 900.
fn duration_seconds(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// `15m` as `15` and `m`.
fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    text.split_at(digits.len())
}

#[cfg(test)]
mod tests {
    use super::{Durability, duration_seconds, parse_durability};

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration_seconds("15m"), Some(900));
        assert_eq!(duration_seconds("1h"), Some(3_600));
        assert_eq!(duration_seconds("7d"), Some(604_800));
        assert_eq!(duration_seconds("30s"), Some(30));
        for wrong in ["", "15", "m", "15 m", "15M", "-1s", "1.5h", "1h30m", "99999999999999999999d"]
        {
            assert_eq!(duration_seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durability_is_a_mode_with_what_it_waits_for() {
        assert_eq!(parse_durability("fast"), Some(Durability::Fast));
        let replicated = Durability::Replicated { replicas: 2, timeout_ms: 100 };
        for text in ["replicated(2, 100ms)", "replicated( 2,100ms )"] {
            assert_eq!(parse_durability(text), Some(replicated), "{text}");
        }
        let fsynced = Durability::Fsynced { timeout_ms: 2_000 };
        assert_eq!(parse_durability("fsynced(2s)"), Some(fsynced));
        for wrong in [
            "",
            "slow",
            "fast()",
            "replicated",
            "replicated(1)",
            "replicated(0, 1s)",
            "replicated(-1, 1s)",
            "replicated(1, 1h)",
            "replicated(1, 100)",
            "fsynced(0ms)",
            "fsynced(1, 1s)",
            "fsynced(1s",
            "fsynced(1441m)",
        ] {
            assert_eq!(parse_durability(wrong), None, "{wrong}");
        }
    }
}
