//! Random questions, to be asked of several pairs.

use std::fmt::Debug;

use bigdecimal::BigDecimal;
use fastrand::Rng;
use kv_runtime::{
    Condition, Consistency, Error, Field, KvModel, KvScalar, KvText, KvValue, Order, Overlay,
    Query, Repository, Stored, StoredOnly, count,
};
use rust_decimal::Decimal;

use super::samples::{Sample, pool};

type Fields = <Sample as KvModel>::Fields;

/// A question that can be asked again.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    condition: Option<Condition<Sample>>,
    orders: Vec<Order<Sample>>,
    limit: Option<u64>,
    offset: u64,
    is_stored: bool,
    ask: u8,
}

impl Question {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let fields = Sample::FIELDS;
        Self {
            condition: (rng.u8(..10) > 0).then(|| condition(rng, &fields, 3)),
            orders: (0..rng.u8(..4)).map(|_| order(rng, &fields)).collect(),
            limit: rng.bool().then(|| rng.u64(..30)),
            offset: if rng.u8(..4) == 0 { rng.u64(..10) } else { 0 },
            is_stored: rng.u8(..4) == 0,
            ask: rng.u8(..32),
        }
    }

    /// The same question, asked of PostgreSQL alone or not.
    pub(crate) fn of(&self, is_stored: bool) -> Self {
        Self { is_stored, ..self.clone() }
    }

    /// The answer, in a form that is the same for equal values.
    pub(crate) async fn ask(&self, samples: &Repository<Sample>) -> String {
        let mut query = samples.query();
        if let Some(condition) = &self.condition {
            query = query.filter(|_| condition.clone());
        }
        for order in &self.orders {
            query = query.order_by(|_| *order);
        }
        query = query.offset(self.offset);
        if let Some(limit) = self.limit {
            query = query.limit(limit);
        }
        match self.is_stored {
            false => self.ask_by(query).await,
            true => self.ask_by(query.stored()).await,
        }
        .expect("an answer")
    }

    async fn ask_by<C: Level>(&self, query: Query<Sample, C>) -> Result<String, Error> {
        Ok(match self.ask {
            0 => shown(&C::value(query.count().await?)),
            1 => shown(&C::value(query.exists().await?)),
            2 => shown(&C::value(query.first().await?).map(|row| row.id)),
            3 => shown(&C::value(query.sum(|b| b.tiny).await?)),
            4 => shown(&C::value(query.sum(|b| b.big).await?)),
            5 => shown(&C::value(query.sum(|b| b.unsigned).await?)),
            6 => shown(&C::value(query.sum(|b| b.real).await?).map(real)),
            7 => shown(&C::value(query.sum(|b| b.decimal).await?).map(decimal)),
            8 => shown(&C::value(query.sum(|b| b.large).await?).map(large)),
            9 => shown(&C::value(query.avg(|b| b.number).await?).map(double)),
            10 => shown(&C::value(query.avg(|b| b.double).await?).map(double)),
            11 => shown(&C::value(query.avg(|b| b.decimal).await?).map(decimal)),
            12 => shown(&C::value(query.avg(|b| b.large).await?).map(large)),
            13 => shown(&C::value(query.min(|b| b.text).await?)),
            14 => shown(&C::value(query.max(|b| b.uuid).await?)),
            15 => shown(&C::value(query.min(|b| b.flag).await?)),
            16 => shown(&C::value(query.max(|b| b.bytes).await?)),
            17 => shown(&C::value(query.min(|b| b.double).await?).map(double)),
            18 => shown(&C::value(query.max(|b| b.timestamptz).await?)),
            19 => shown(&C::value(query.group_by(|b| b.text).count().await?)),
            20 => {
                let groups = query.group_by(|b| (b.flag, b.number)).sum(|b| b.decimal).await?;
                shown_groups(C::value(groups), |key| key, decimal)
            }
            21 => {
                let groups = query.group_by(|b| b.double).max(|b| b.date).await?;
                shown_groups(C::value(groups), |key| key.map(double), |date| date)
            }
            22 => {
                let groups = query.group_by(|b| (b.decimal, b.tiny)).avg(|b| b.number).await?;
                shown_groups(C::value(groups), |(key, tiny)| (key.map(decimal), tiny), double)
            }
            23 => {
                let groups = query.group_by(|b| b.tiny);
                let several = groups.aggregate(|b| (count(), b.number.sum(), b.text.max())).await?;
                shown(&C::value(several))
            }
            24 => shown(&C::value(query.avg(|b| b.real).await?).map(double)),
            _ => {
                let rows = C::value(query.load().await?);
                shown(&rows.iter().map(|row| row.id).collect::<Vec<_>>())
            }
        })
    }
}

/// What a query answers at either level, without what is said of it.
trait Level: Consistency {
    fn value<T>(answer: Self::Answer<T>) -> T;
}

impl Level for Overlay {
    fn value<T>(answer: T) -> T {
        answer
    }
}

impl Level for StoredOnly {
    fn value<T>(answer: Stored<T>) -> T {
        answer.value
    }
}

fn shown(value: &impl Debug) -> String {
    format!("{value:?}")
}

fn shown_groups<K, V, A: Debug, B: Debug>(
    groups: Vec<(K, Option<V>)>,
    key: impl Fn(K) -> A,
    value: impl Fn(V) -> B,
) -> String {
    let groups = groups.into_iter().map(|(k, v)| (key(k), v.map(&value)));
    shown(&groups.collect::<Vec<_>>())
}

/// One zero.
fn double(value: f64) -> f64 {
    value + 0.0
}

fn real(value: f32) -> f32 {
    value + 0.0
}

/// One number of digits.
fn decimal(value: Decimal) -> Decimal {
    value.normalize()
}

fn large(value: BigDecimal) -> BigDecimal {
    value.normalized()
}

fn condition(rng: &mut Rng, b: &Fields, depth: u8) -> Condition<Sample> {
    if depth > 0 && rng.bool() {
        let one = condition(rng, b, depth - 1);
        return match rng.u8(..5) {
            0 => !one,
            1 | 2 => one.and(condition(rng, b, depth - 1)),
            _ => one.or(condition(rng, b, depth - 1)),
        };
    }
    match rng.u8(..24) {
        0 => compare(rng, b.flag, &[true, false]),
        1 => compare(rng, b.tiny, &pool::TINY),
        2 => compare(rng, b.number, &pool::NUMBERS),
        3 => compare(rng, b.big, &pool::BIG),
        4 => compare(rng, b.unsigned, &pool::UNSIGNED),
        5 => compare(rng, b.real, &pool::REALS),
        6 => compare(rng, b.double, &pool::DOUBLES),
        7 => compare(rng, b.decimal, &pool::decimals()),
        8 => compare(rng, b.large, &pool::large()),
        9 => compare(rng, b.text, &pool::texts()),
        10 => compare(rng, b.label, &pool::labels()),
        11 => compare(rng, b.bytes, &pool::bytes()),
        12 => compare(rng, b.uuid, &pool::uuids()),
        13 => compare(rng, b.date, &pool::dates()),
        14 => compare(rng, b.time, &pool::times()),
        15 => compare(rng, b.timestamp, &pool::timestamps()),
        16 => compare(rng, b.timestamptz, &pool::timestamptzs()),
        17 => b.id.between(rng.i64(..60), rng.i64(..60)),
        18 => b.name.gt(pool::one(rng, &pool::TEXTS).to_owned()),
        // PostgreSQL alone knows the order of its labels.
        19 => equals(rng, b.mood, &pool::MOODS),
        20 => b.list.is_null(),
        21 => b.json.is_not_null(),
        22 => like(rng, b.label),
        _ => like(rng, b.text),
    }
}

fn compare<T>(rng: &mut Rng, field: Field<Sample, Option<T>>, values: &[T]) -> Condition<Sample>
where
    T: KvValue + KvScalar + Clone,
{
    let value = pool::one(rng, values);
    match rng.u8(..7) {
        0 => field.lt(value),
        1 => field.le(value),
        2 => field.gt(value),
        3 => field.ge(value),
        4 => field.between(value, pool::one(rng, values)),
        _ => equals(rng, field, values),
    }
}

fn equals<T>(rng: &mut Rng, field: Field<Sample, Option<T>>, values: &[T]) -> Condition<Sample>
where
    T: KvValue + KvScalar + Clone,
{
    let value = pool::one(rng, values);
    match rng.u8(..5) {
        0 => field.eq(value),
        1 => field.ne(value),
        2 => field.is_null(),
        3 => field.is_not_null(),
        _ => field.is_in((0..rng.usize(..4)).map(|_| pool::one(rng, values)).collect::<Vec<_>>()),
    }
}

fn like<T>(rng: &mut Rng, field: Field<Sample, Option<T>>) -> Condition<Sample>
where
    T: KvValue + KvText,
{
    let pattern = pool::one(rng, &pool::PATTERNS);
    match rng.u8(..3) {
        0 => field.like(pattern),
        1 => field.not_like(pattern),
        _ => field.ilike(pattern),
    }
}

fn order(rng: &mut Rng, b: &Fields) -> Order<Sample> {
    fn directed<T: KvValue>(rng: &mut Rng, field: Field<Sample, T>) -> Order<Sample>
    where
        T::NotNull: KvScalar,
    {
        if rng.bool() { field.asc() } else { field.desc() }
    }
    match rng.u8(..12) {
        0 => directed(rng, b.flag),
        1 => directed(rng, b.tiny),
        2 => directed(rng, b.number),
        3 => directed(rng, b.unsigned),
        4 => directed(rng, b.real),
        5 => directed(rng, b.double),
        6 => directed(rng, b.large),
        7 => directed(rng, b.name),
        8 => directed(rng, b.text),
        9 => directed(rng, b.bytes),
        10 => directed(rng, b.timestamptz),
        _ => directed(rng, b.id),
    }
}
