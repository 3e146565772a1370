//! The statement of a query.
//!
//! Dirty rows take the place of their rows in the table before anything is chosen, sorted or
//! counted, so that all of that is PostgreSQL's own:
//!
//! ```text
//! SELECT … FROM (
//!     (SELECT * FROM (SELECT t."id" AS c0, … FROM "bookings" AS t
//!         WHERE NOT EXISTS (… the dirty ids …)) AS r WHERE r.c2 = … ORDER BY … LIMIT …)
//!     UNION ALL
//!     (SELECT * FROM (SELECT u.c0::uuid AS c0, … FROM unnest(… the dirty rows …)) AS r)
//! ) AS r WHERE r.c2 = … ORDER BY r.c5 DESC, r.c0 LIMIT …
//! ```
//!
//! Every literal is a parameter, of one element or of many.

use std::time::{Duration, Instant};

use diesel_async::AsyncPgConnection;

use super::array::ColumnArray;
use super::sql::{self, PARAMETER, cast_array, quote, quote_one, same_id, text_of};
use super::statement::{Query, Statement};
use super::{attempt, classify, columns_of};
use crate::durable_store::DurableStoreError;
use crate::error::Source;
use crate::model::{ColumnDescriptor, ColumnType, FieldError, ModelDescriptor};
use crate::query::order::{ColumnOrder, Direction};
use crate::query::predicate::{Comparison, Predicate};
use crate::query::select::{Aggregate, Answer, Select};
use crate::row::EncodedRow;

/// Asks a query, of which PostgreSQL cancels what takes longer than `timeout`; zero is for ever.
pub(super) async fn load(
    connection: &mut AsyncPgConnection,
    select: &Select,
    timeout: Duration,
) -> Result<Vec<EncodedRow>, DurableStoreError> {
    let query = Query::of_texts(statement_of(select)?).uncached();
    let asked = Instant::now();
    match query.load_texts(connection).await.map_err(classify) {
        // One that was cancelled for its time would be so again.
        Err(DurableStoreError::Refused(source))
            if timeout.is_zero() || asked.elapsed() < timeout =>
        {
            Err(refused(connection, statement_of(select)?, source).await)
        }
        loaded => loaded,
    }
}

/// What a statement was refused for, by its SQLSTATE (PostgreSQL's documentation, appendix A).
async fn refused(
    connection: &mut AsyncPgConnection,
    statement: Statement,
    source: Source,
) -> DurableStoreError {
    let refusal = attempt::refusal_of(connection, statement).await.ok().flatten();
    let sqlstate = refusal.as_ref().and_then(|refusal| refusal.sqlstate.as_deref());
    match sqlstate.map(|sqlstate| (sqlstate, sqlstate.get(..2).unwrap_or_default())) {
        // A right that is missing.
        Some(("42501", _)) => DurableStoreError::Configuration(source),
        // The values, what can be asked, and how much of it at once.
        Some((_, "0A" | "22" | "42" | "54")) => DurableStoreError::RefusedQuery(source),
        _ => DurableStoreError::Refused(source),
    }
}

/// The statement of a query; all that it answers are texts.
fn statement_of(select: &Select) -> Result<Statement, DurableStoreError> {
    let mut writer = Writer { model: select.model, sql: String::new(), parameters: Vec::new() };
    match &select.answer {
        Answer::Rows => {
            let columns = (0..select.model.columns.len()).map(|at| writer.text_of(at));
            let columns = columns.collect::<Vec<_>>().join(", ");
            writer.push(&format!("SELECT {columns} FROM "));
            writer.rows(select)?;
        }
        Answer::Aggregate { aggregates, groups } => {
            let mut answer: Vec<String> = groups.iter().map(|&at| writer.text_of(at)).collect();
            answer.extend(aggregates.iter().map(|aggregate| writer.aggregate(*aggregate)));
            writer.push(&format!("SELECT {} FROM ", answer.join(", ")));
            if select.is_cut() {
                writer.push("(SELECT * FROM ");
                writer.rows(select)?;
                writer.push(") AS r");
            } else {
                writer.rows(select)?;
            }
            if !groups.is_empty() {
                let groups: Vec<String> = groups.iter().map(|at| format!("r.c{at}")).collect();
                let groups = groups.join(", ");
                writer.push(&format!(" GROUP BY {groups} ORDER BY {groups}"));
            }
        }
    }
    Ok(Statement { sql: writer.sql, parameters: writer.parameters })
}

/// A statement on the way: a parameter is pushed where its place is written.
struct Writer {
    model: &'static ModelDescriptor,
    sql: String,
    parameters: Vec<ColumnArray>,
}

impl Writer {
    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    fn ty(&self, column: usize) -> ColumnType {
        self.model.columns[column].ty
    }

    fn text_of(&self, column: usize) -> String {
        text_of(&format!("r.c{column}"), self.ty(column))
    }

    fn aggregate(&self, aggregate: Aggregate) -> String {
        match aggregate {
            Aggregate::Count => "count(*)::text".to_owned(),
            Aggregate::Sum(column) => match self.ty(column) {
                // Its own sum of them is rounded at each step, and depends on where rows lie.
                ColumnType::Real => format!("sum(r.c{column}::float8)::float4::text"),
                _ => format!("sum(r.c{column})::text"),
            },
            Aggregate::Average(column) => format!("avg(r.c{column})::text"),
            Aggregate::Min(column) => self.extreme(column, ["min", "bool_and", "ASC"]),
            Aggregate::Max(column) => self.extreme(column, ["max", "bool_or", "DESC"]),
        }
    }

    /// Not every type that can be sorted has a `min` and a `max`.
    fn extreme(&self, column: usize, [name, of_bools, direction]: [&str; 3]) -> String {
        let value = format!("r.c{column}");
        match self.ty(column) {
            ColumnType::Bool => format!("{of_bools}({value})::text"),
            ty @ (ColumnType::Uuid | ColumnType::Bytea) => {
                let first = format!(
                    "(array_agg({value} ORDER BY {value} {direction}) \
                     FILTER (WHERE {value} IS NOT NULL))[1]"
                );
                text_of(&first, ty)
            }
            ty => text_of(&format!("{name}({value})"), ty),
        }
    }

    /// The rows that are meant, as `r`, in their order.
    fn rows(&mut self, select: &Select) -> Result<(), DurableStoreError> {
        if select.dirty.rows.is_empty() {
            self.table(&select.dirty.ids)?;
        } else {
            self.push("((SELECT * FROM ");
            self.table(&select.dirty.ids)?;
            // Else it would all be read and sorted, because no index has both parts in order. A
            // condition without a cut PostgreSQL moves into the parts itself.
            if let Some(limit) = select.limit {
                self.condition(select)?;
                self.orders(&select.orders);
                self.limit(limit.saturating_add(select.offset));
            }
            self.push(") UNION ALL (SELECT * FROM ");
            self.dirty(&select.dirty.rows);
            self.push(")) AS r");
        }
        // Of both parts together: only so do dirty rows have the collations of the table's columns.
        self.condition(select)?;
        self.orders(&select.orders);
        if let Some(limit) = select.limit {
            self.limit(limit);
        }
        if select.offset > 0 {
            self.push(" OFFSET ");
            self.number(select.offset);
        }
        Ok(())
    }

    /// The table's rows but those that are dirty.
    fn table(&mut self, dirty: &[EncodedRow]) -> Result<(), DurableStoreError> {
        let model = self.model;
        let columns = self.list(|_, column| format!("t.{}", quote_one(column.column)));
        self.push(&format!("(SELECT {columns} FROM {} AS t", quote(model.table)));
        if !dirty.is_empty() {
            let ids = sql::Source::Arrays.rows(model.id.len());
            let is_dirty = same_id(model, sql::Source::Arrays);
            self.push(&format!(" WHERE NOT EXISTS (SELECT FROM {ids} WHERE {is_dirty})"));
            let ids = dirty.iter().map(EncodedRow::iter);
            self.parameters.extend(columns_of(model, model.id.iter().copied(), ids)?);
        }
        self.push(") AS r");
        Ok(())
    }

    /// The dirty rows that there are.
    fn dirty(&mut self, rows: &[EncodedRow]) {
        let columns = self.list(|at, column| sql::Source::Texts.value(at, column.ty));
        let source = sql::Source::Texts.rows(self.model.columns.len());
        self.push(&format!("(SELECT {columns} FROM {source}) AS r"));
        for at in 0..self.model.columns.len() {
            let texts = rows.iter().map(|row| row.get(at));
            self.parameters.push(ColumnArray::of_nullable_texts(texts));
        }
    }

    /// The columns, as `c0, c1, …`.
    fn list(&self, expression: impl Fn(usize, &ColumnDescriptor) -> String) -> String {
        let columns = self.model.columns.iter().enumerate();
        let columns = columns.map(|(at, column)| format!("{} AS c{at}", expression(at, column)));
        columns.collect::<Vec<_>>().join(", ")
    }

    fn condition(&mut self, select: &Select) -> Result<(), DurableStoreError> {
        let Some(predicate) = &select.predicate else { return Ok(()) };
        self.push(" WHERE ");
        self.predicate(predicate)
    }

    fn orders(&mut self, orders: &[ColumnOrder]) {
        if !orders.is_empty() {
            let orders: Vec<String> = orders.iter().map(order).collect();
            self.push(&format!(" ORDER BY {}", orders.join(", ")));
        }
    }

    fn limit(&mut self, limit: u64) {
        self.push(" LIMIT ");
        self.number(limit);
    }

    fn predicate(&mut self, predicate: &Predicate) -> Result<(), DurableStoreError> {
        match predicate {
            Predicate::Compare { column, comparison, literal } => {
                self.push(&format!("r.c{column} {} ", operator(*comparison)));
                self.literal(*column, literal.as_deref())
            }
            Predicate::CompareStored { column, comparison, text } => {
                let (operator, ty) = (operator(*comparison), self.ty(*column));
                self.push(&format!("r.c{column} {operator} ({PARAMETER})[1]::{ty}"));
                self.parameters.push(ColumnArray::of_texts([text]));
                Ok(())
            }
            Predicate::In { column, literals } => {
                let array = cast_array(self.ty(*column));
                self.push(&format!("r.c{column} = ANY({array})"));
                let array = self.array(*column, literals.iter())?;
                self.parameters.push(array);
                Ok(())
            }
            Predicate::Like { column, pattern, ignores_case } => {
                let like = if *ignores_case { "ILIKE" } else { "LIKE" };
                self.push(&format!("r.c{column} {like} ({PARAMETER})[1]"));
                self.parameters.push(ColumnArray::of_nullable_texts([pattern.as_deref()]));
                Ok(())
            }
            Predicate::IsNull(column) => {
                self.push(&format!("r.c{column} IS NULL"));
                Ok(())
            }
            Predicate::Not(predicate) => {
                self.push("NOT (");
                self.predicate(predicate)?;
                self.push(")");
                Ok(())
            }
            Predicate::All(all) => self.join(all, " AND ", "true"),
            Predicate::Any(any) => self.join(any, " OR ", "false"),
        }
    }

    fn join(
        &mut self,
        predicates: &[Predicate],
        word: &str,
        of_none: &str,
    ) -> Result<(), DurableStoreError> {
        self.push("(");
        if predicates.is_empty() {
            self.push(of_none);
        }
        for (index, predicate) in predicates.iter().enumerate() {
            if index > 0 {
                self.push(word);
            }
            self.predicate(predicate)?;
        }
        self.push(")");
        Ok(())
    }

    /// A value of the column's type.
    fn literal(&mut self, column: usize, text: Option<&str>) -> Result<(), DurableStoreError> {
        let array = cast_array(self.ty(column));
        self.push(&format!("({array})[1]"));
        let array = self.array(column, [text].into_iter())?;
        self.parameters.push(array);
        Ok(())
    }

    fn number(&mut self, number: u64) {
        // No table has more rows than that.
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.push(&format!("({PARAMETER})[1]"));
        let mut array = ColumnArray::new(ColumnType::BigInt);
        // A number's text is a number.
        let _ = array.push(Some(&number.to_string()));
        self.parameters.push(array);
    }

    fn array<'a>(
        &self,
        column: usize,
        texts: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<ColumnArray, DurableStoreError> {
        let column = &self.model.columns[column];
        let mut array = ColumnArray::new(column.ty);
        for text in texts {
            array.push(text).map_err(|source| {
                let error = FieldError { field: column.field, source };
                DurableStoreError::RefusedQuery(Box::new(error))
            })?;
        }
        Ok(array)
    }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

/// NULL is last ascending and first descending, as PostgreSQL has it by itself.
fn order(order: &ColumnOrder) -> String {
    let direction = match order.direction {
        Direction::Ascending => "",
        Direction::Descending => " DESC",
    };
    format!("r.c{}{direction}", order.column)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use diesel::sql_types::Text;
    use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};

    use super::*;
    use crate::query::select::tests::MODEL;
    use crate::testing::servers;

    const FARE: usize = 1;

    /// Ten thousand rows with a thousand fares.
    async fn rides() -> AsyncPgConnection {
        let url = servers().create_database();
        let mut connection = AsyncPgConnection::establish(&url).await.expect("the server is up");
        let sql = "CREATE TABLE rides (id bigint PRIMARY KEY, fare integer NOT NULL, tip numeric);
                   CREATE INDEX rides_fare ON rides (fare);
                   CREATE INDEX rides_tip ON rides (tip);
                   INSERT INTO rides SELECT i, i % 1000, nullif(i % 1000, 0)
                   FROM generate_series(1, 10000) AS i;
                   ANALYZE rides";
        connection.batch_execute(sql).await.expect("valid SQL");
        connection
    }

    /// How PostgreSQL goes about it.
    async fn plan_of(select: &Select, connection: &mut AsyncPgConnection) -> String {
        let mut statement = statement_of(select).expect("values of their columns' types");
        statement.sql.insert_str(0, "EXPLAIN ");
        let query = Query::<Text>::new(statement).uncached();
        let lines: Vec<String> = query.load(connection).await.expect("a plan");
        lines.join("\n")
    }

    #[tokio::test]
    async fn whether_there_are_rows_is_asked_without_sorting() {
        let mut connection = rides().await;
        let literal = Some("7".to_owned());
        let comparison = Comparison::Equal;
        let select = Select {
            predicate: Some(Predicate::Compare { column: FARE, comparison, literal }),
            orders: vec![ColumnOrder { column: FARE, direction: Direction::Descending }],
            limit: Some(1),
            answer: Answer::Aggregate { aggregates: vec![Aggregate::Count], groups: Vec::new() },
            ..Select::new(&MODEL)
        };
        let mut counted = select.clone();
        counted.put_in_order(None).expect("no cursor");
        let plan = plan_of(&counted, &mut connection).await;
        assert!(plan.contains("rides_fare") && !plan.contains("Sort"), "{plan}");
        // Of so many rows, what they come to depends on which they are.
        let aggregates = vec![Aggregate::Sum(0)];
        let answer = Answer::Aggregate { aggregates, groups: Vec::new() };
        let mut summed = Select { answer, ..select };
        summed.put_in_order(None).expect("no cursor");
        assert_eq!(summed.orders.len(), 2);
    }
}
