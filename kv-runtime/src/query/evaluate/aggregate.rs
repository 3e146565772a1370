//! Counts, sums and the like, of groups.

use std::cmp::Ordering;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, RoundingMode};

use super::datum::{Datum, compare_nullable, parse_numeric};
use super::value_of;
use crate::model::{ColumnType, FieldError, ModelDescriptor};
use crate::query::select::Aggregate;
use crate::row::EncodedRow;
use crate::value::{KvValue, ValueError};

/// The groups in the order of their keys, each with its aggregates.
pub(super) fn aggregate(
    model: &'static ModelDescriptor,
    aggregates: &[Aggregate],
    groups: &[usize],
    rows: Vec<&EncodedRow>,
) -> Result<Vec<EncodedRow>, FieldError> {
    let mut keyed = Vec::with_capacity(rows.len());
    for row in rows {
        let key = groups.iter().map(|&column| value_of(model, column, row));
        keyed.push((key.collect::<Result<Vec<_>, _>>()?, row));
    }
    let compare = |one: &[Option<Datum<'_>>], other: &[Option<Datum<'_>>]| {
        let pairs = one.iter().zip(other);
        let compared = pairs.map(|(one, other)| compare_nullable(one.as_ref(), other.as_ref()));
        compared.fold(Ordering::Equal, Ordering::then)
    };
    keyed.sort_by(|(one, _), (other, _)| compare(one, other));
    let mut chunks: Vec<Vec<&EncodedRow>> = keyed
        .chunk_by(|(one, _), (other, _)| compare(one, other).is_eq())
        .map(|chunk| chunk.iter().map(|(_, row)| *row).collect())
        .collect();
    // Without groups there is one row, also of nothing.
    if groups.is_empty() && chunks.is_empty() {
        chunks.push(Vec::new());
    }
    let answer = |rows: Vec<&EncodedRow>| {
        let values = aggregates.iter().map(|aggregate| aggregate_of(model, *aggregate, &rows));
        let values: Vec<Option<String>> = values.collect::<Result<_, _>>()?;
        let key = groups.iter().map(|&column| rows.first().and_then(|row| row.get(column)));
        Ok(key.chain(values.iter().map(Option::as_deref)).collect())
    };
    chunks.into_iter().map(answer).collect()
}

fn aggregate_of(
    model: &'static ModelDescriptor,
    aggregate: Aggregate,
    rows: &[&EncodedRow],
) -> Result<Option<String>, FieldError> {
    let Some(position) = aggregate.column() else { return Ok(Some(rows.len().to_string())) };
    let column = &model.columns[position];
    let texts: Vec<&str> = rows.iter().filter_map(|row| row.get(position)).collect();
    if texts.is_empty() {
        return Ok(None);
    }
    let value = match aggregate {
        Aggregate::Sum(_) => sum(column.ty, &texts),
        Aggregate::Average(_) => average(column.ty, &texts),
        Aggregate::Min(_) => extreme(column.ty, &texts, Ordering::is_lt),
        Aggregate::Max(_) | Aggregate::Count => extreme(column.ty, &texts, Ordering::is_gt),
    };
    value.map(Some).map_err(|source| FieldError { field: column.field, source })
}

/// The first of the values before which no other stands.
fn extreme(
    ty: ColumnType,
    texts: &[&str],
    is_before: fn(Ordering) -> bool,
) -> Result<String, ValueError> {
    let (mut best, mut best_text) = (Datum::parse(ty, texts[0])?, texts[0]);
    for &text in &texts[1..] {
        let value = Datum::parse(ty, text)?;
        if is_before(value.compare(&best)) {
            (best, best_text) = (value, text);
        }
    }
    Ok(best_text.to_owned())
}

fn sum(ty: ColumnType, texts: &[&str]) -> Result<String, ValueError> {
    Ok(match ty {
        ColumnType::Real => format!("{:?}", float_sum(&reals(texts)?, |sum| sum as f32)?),
        ColumnType::Double => format!("{:?}", float_sum(&doubles(texts)?, |sum| sum)?),
        _ => exact_sum(texts)?.to_plain_string(),
    })
}

fn average(ty: ColumnType, texts: &[&str]) -> Result<String, ValueError> {
    Ok(match ty {
        ColumnType::Real => float_average(&reals(texts)?)?,
        ColumnType::Double => float_average(&doubles(texts)?)?,
        _ => divide(&exact_sum(texts)?, texts.len()).to_plain_string(),
    })
}

fn float_average(values: &[f64]) -> Result<String, ValueError> {
    Ok(format!("{:?}", float_sum(values, |sum| sum)? / values.len() as f64))
}

/// The sum, rounded to its type at the end alone.
fn float_sum<T: Into<f64> + Copy>(
    values: &[f64],
    round: impl Fn(f64) -> T,
) -> Result<T, ValueError> {
    let sum = round(values.iter().sum());
    // PostgreSQL refuses to make infinity of what is finite.
    if sum.into().is_infinite() && !values.iter().any(|value| value.is_infinite()) {
        return Err(ValueError::Invalid { expected: "column whose sum its type can hold" });
    }
    Ok(sum)
}

fn reals(texts: &[&str]) -> Result<Vec<f64>, ValueError> {
    texts.iter().map(|text| f32::decode(Some(text)).map(f64::from)).collect()
}

fn doubles(texts: &[&str]) -> Result<Vec<f64>, ValueError> {
    texts.iter().map(|text| f64::decode(Some(text))).collect()
}

fn exact_sum(texts: &[&str]) -> Result<BigDecimal, ValueError> {
    let mut sum = BigDecimal::from(0);
    for text in texts {
        sum += parse_numeric(text)?;
    }
    Ok(sum)
}

/// A quotient with as many digits as PostgreSQL gives it (`select_div_scale` of its `numeric.c`):
/// at least 16 that count, and none fewer behind the point than the dividend has.
fn divide(sum: &BigDecimal, count: usize) -> BigDecimal {
    const DIGITS_MIN: i64 = 16;
    let count = BigDecimal::from(count as u64);
    let ((sum_weight, sum_first), (count_weight, count_first)) = (leading(sum), leading(&count));
    let mut weight = sum_weight - count_weight;
    if sum_first <= count_first {
        weight -= 1;
    }
    let scale = (DIGITS_MIN - weight * 4).max(sum.fractional_digit_count()).max(0);
    // With digits to spare, for the last one to be rounded by what is behind it.
    let exact = (sum.with_scale(scale + 20)) / &count;
    exact.with_scale_round(scale, RoundingMode::HalfUp)
}

/// The weight and the value of the first digit that is not zero, in the base 10,000 that
/// PostgreSQL counts in.
fn leading(number: &BigDecimal) -> (i64, u32) {
    let (digits, exponent) = number.as_bigint_and_exponent();
    if digits.sign() == Sign::NoSign {
        return (0, 0);
    }
    let text = BigInt::magnitude(&digits).to_string();
    // The place of the first digit: 0 for ones, 1 for tens, -1 for tenths.
    let place = text.len() as i64 - 1 - exponent;
    let weight = place.div_euclid(4);
    let length = usize::try_from(place - weight * 4 + 1).unwrap_or(1);
    let first: String = text.chars().chain("000".chars()).take(length).collect();
    (weight, first.parse().unwrap_or_default())
}
