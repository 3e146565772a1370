//! The statements, built from a model's descriptor.
//!
//! A parameter is an array, one for each column. A statement is therefore the same for any
//! number of rows, and is prepared once.

use crate::model::{ColumnDescriptor, ColumnType, ModelDescriptor};
pub(super) use crate::schema::name::{quote, quote_one};

/// Stands for the next parameter; it cannot occur in a name.
pub(super) const PARAMETER: char = '\u{1}';

/// Where a statement's rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Parameters, one array a column.
    Arrays,
    /// Parameters, one array of texts a column: what Redis has, which need not be in the form that
    /// a binary parameter is made from where it came from PostgreSQL.
    Texts,
    /// `$1` alone, a JSON array of rows, each an array of texts: what `kv_attempt` takes.
    Json,
}

impl Source {
    /// The rows as `u(c0, c1, …)`.
    pub(super) fn rows(self, columns: usize) -> String {
        match self {
            Self::Arrays | Self::Texts => unnest(columns, ""),
            Self::Json => {
                let columns: Vec<String> =
                    (0..columns).map(|at| format!("j.r->>{at} AS c{at}")).collect();
                let columns = columns.join(", ");
                format!("(SELECT {columns} FROM jsonb_array_elements($1::jsonb) AS j(r)) AS u")
            }
        }
    }

    /// A column of `u` as a value of the column's type.
    pub(super) fn value(self, at: usize, ty: ColumnType) -> String {
        let column = format!("u.c{at}");
        match self {
            Self::Json | Self::Texts if !matches!(ty, ColumnType::Array(_)) => {
                format!("{column}::{ty}")
            }
            _ => cast(&column, ty),
        }
    }
}

/// An element of a column's parameter as a value of the column's type.
fn cast(expression: &str, ty: ColumnType) -> String {
    match ty {
        // Arrays are JSON outside of PostgreSQL.
        ColumnType::Array(_) => format!(
            "CASE WHEN {expression} IS NULL THEN NULL ELSE \
             ARRAY(SELECT jsonb_array_elements_text({expression}::jsonb)) END::{ty}"
        ),
        ty if ty.is_sent_as_text() => format!("{expression}::{ty}"),
        _ => expression.to_owned(),
    }
}

/// A column's parameter as an array of the column's type.
pub(super) fn cast_array(ty: ColumnType) -> String {
    if ty.is_sent_as_text() { format!("{PARAMETER}::{ty}[]") } else { PARAMETER.to_string() }
}

/// A value of the column's type as text.
pub(super) fn text_of(expression: &str, ty: ColumnType) -> String {
    match ty {
        ColumnType::Array(_) => format!("to_jsonb({expression}::text[])::text"),
        _ => format!("{expression}::text"),
    }
}

/// `unnest(…) AS u(c0, c1, …)` over as many parameters.
pub(super) fn unnest(columns: usize, options: &str) -> String {
    let parameters = vec![PARAMETER.to_string(); columns].join(", ");
    let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    let ordinality = if options.is_empty() { "" } else { ", ordinal" };
    format!("unnest({parameters}) {options} AS u({}{ordinality})", names.join(", "))
}

/// `t."id" = u.c0::uuid AND …` over the id's columns, the first parameters.
pub(super) fn same_id(model: &ModelDescriptor, source: Source) -> String {
    let conditions = model.id.iter().enumerate().map(|(at, &position)| {
        let column = &model.columns[position];
        format!("t.{} = {}", quote_one(column.column), source.value(at, column.ty))
    });
    conditions.collect::<Vec<_>>().join(" AND ")
}

fn list(columns: &[ColumnDescriptor], item: impl Fn(usize, &ColumnDescriptor) -> String) -> String {
    let items = columns.iter().enumerate().map(|(at, column)| item(at, column));
    items.collect::<Vec<_>>().join(", ")
}

/// Inserts whole rows; one parameter a column. What is read-only is left to PostgreSQL.
pub(super) fn insert(model: &ModelDescriptor, source: Source) -> String {
    let written = || model.columns.iter().enumerate().filter(|(_, column)| !column.read_only);
    let columns: Vec<String> = written().map(|(_, column)| quote_one(column.column)).collect();
    let values: Vec<String> = written().map(|(at, column)| source.value(at, column.ty)).collect();
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {}",
        quote(model.table),
        columns.join(", "),
        values.join(", "),
        source.rows(model.columns.len()),
    )
}

/// Inserts whole rows, or replaces those that are there; one parameter a column.
pub(super) fn upsert(model: &ModelDescriptor, source: Source) -> String {
    let id: Vec<String> = model.id.iter().map(|&at| quote_one(model.columns[at].column)).collect();
    let others: Vec<String> = (0..model.columns.len())
        .filter(|at| !model.id.contains(at) && !model.columns[*at].read_only)
        .map(|at| quote_one(model.columns[at].column))
        .map(|column| format!("{column} = EXCLUDED.{column}"))
        .collect();
    let action = match others.as_slice() {
        [] => "NOTHING".to_owned(),
        others => format!("UPDATE SET {}", others.join(", ")),
    };
    format!("{} ON CONFLICT ({}) DO {action}", insert(model, source), id.join(", "))
}

/// Sets some columns by id; a parameter for each of the id's columns, then one for each changed.
pub(super) fn patch(model: &ModelDescriptor, columns: &[usize], source: Source) -> String {
    let first = model.id.len();
    let changes = columns.iter().enumerate().map(|(at, &position)| {
        let column = &model.columns[position];
        let value = source.value(first + at, column.ty);
        format!("{} = {value}", quote_one(column.column))
    });
    format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {}",
        quote(model.table),
        changes.collect::<Vec<_>>().join(", "),
        source.rows(first + columns.len()),
        same_id(model, source),
    )
}

/// Deletes rows by id; a parameter for each of the id's columns.
pub(super) fn delete(model: &ModelDescriptor, source: Source) -> String {
    let table = quote(model.table);
    if let ([position], Source::Arrays) = (model.id, source) {
        let column = &model.columns[*position];
        let name = quote_one(column.column);
        let ids = cast_array(column.ty);
        return format!("DELETE FROM {table} WHERE {name} = ANY({ids})");
    }
    let ids = source.rows(model.id.len());
    format!("DELETE FROM {table} AS t USING {ids} WHERE {}", same_id(model, source))
}

/// Reads rows by id with the offset of their partition: queue, partitions, then the id's columns.
///
/// One statement is one snapshot, so the offset is that of the row. Each row is looked up by itself,
/// because a join would be planned once for all connections' lives: by a scan of the whole table, where
/// that was empty then.
///
/// Behind the row's columns come which of the ids it is, and the offset.
pub(super) fn fetch(model: &ModelDescriptor) -> String {
    let at = model.id.len();
    let columns = (0..model.columns.len()).map(|at| format!("r.c{at}"));
    let texts = list(model.columns, |at, column| {
        let text = text_of(&format!("t.{}", quote_one(column.column)), column.ty);
        format!("{text} AS c{at}")
    });
    format!(
        "SELECT {}, u.ordinal::text, o.position FROM {} \
         CROSS JOIN LATERAL (SELECT {texts} FROM {} AS t WHERE {} LIMIT 1) AS r \
         LEFT JOIN kv_offsets AS o ON o.queue = u.c{at} AND o.partition = u.c{}::int",
        columns.collect::<Vec<_>>().join(", "),
        unnest(at + 2, "WITH ORDINALITY"),
        quote(model.table),
        same_id(model, Source::Arrays),
        at + 1,
    )
}

/// Reads a row by other columns than its id's; one parameter for each of them, of one element.
pub(super) fn find_by(model: &ModelDescriptor, columns: &[usize]) -> String {
    let conditions = columns.iter().map(|&position| {
        let column = &model.columns[position];
        let value = cast(&format!("({PARAMETER})[1]"), column.ty);
        format!("t.{} = {value}", quote_one(column.column))
    });
    format!(
        "SELECT {} FROM {} AS t WHERE {} LIMIT 1",
        row_as_texts(model),
        quote(model.table),
        conditions.collect::<Vec<_>>().join(" AND "),
    )
}

/// Reads all rows.
pub(super) fn fetch_all(model: &ModelDescriptor) -> String {
    let row = row_as_texts(model);
    format!("SELECT {row} FROM {} AS t", quote(model.table))
}

/// The columns of a row of `t` as texts.
fn row_as_texts(model: &ModelDescriptor) -> String {
    list(model.columns, |_, column| text_of(&format!("t.{}", quote_one(column.column)), column.ty))
}
