//! Whether a table fits its model; what does not, with the statement that mends it.

use super::columns::{is_of_type, is_rounded, missing_labels};
use super::{Column, Table, column_names};
use crate::checks::{Check, Problem};
use crate::model::{ColumnDescriptor, ColumnType, IndexDescriptor, ModelDescriptor};
use crate::schema::ddl;
use crate::schema::name::{columns, quote, quote_one};

/// Collects what is found about one model.
struct Findings {
    model: &'static ModelDescriptor,
    problems: Vec<Problem>,
}

impl Findings {
    fn text(&self, message: &str) -> String {
        format!("model `{}`: {message}", self.model.name)
    }

    fn add(&mut self, message: &str) {
        self.problems.push(Problem::new(Check::Schema, self.text(message)));
    }

    fn advise(&mut self, message: &str) {
        self.problems.push(Problem::advice(Check::Schema, self.text(message)));
    }

    /// The beginning of a statement that mends it.
    fn alter(&self) -> String {
        format!("ALTER TABLE {}", quote(self.model.table))
    }
}

/// All that does not fit.
pub(super) fn of(model: &'static ModelDescriptor, table: Option<&Table>) -> Vec<Problem> {
    let mut findings = Findings { model, problems: Vec::new() };
    match table {
        None => findings.add(&format!(
            "there is no table `{}`; create it with `{}`",
            model.table,
            create_table(model)
        )),
        // Nothing else would be true of it.
        Some(table) if !["r", "p"].contains(&table.kind.as_str()) => findings.add(&format!(
            "`{}` is a view or a foreign table; name a table with `#[kv(table = \"…\")]`",
            model.table
        )),
        Some(table) => {
            check_rights(table, &mut findings);
            for column in model.columns {
                check_column(column, table, &mut findings);
            }
            check_other_columns(table, &mut findings);
            check_id(table, &mut findings);
            check_indexes(table, &mut findings);
            check_side_effects(table, &mut findings);
        }
    }
    findings.problems
}

/// In one line, with the indexes.
fn create_table(model: &'static ModelDescriptor) -> String {
    let elements = ddl::table_elements(model).join(", ");
    let table = format!("CREATE TABLE {} ({elements})", quote(model.table));
    let indexes = ddl::indexes(model)
        .map(|(index, is_unique)| ddl::create_index(model, index, is_unique, &[model]).up);
    [table].into_iter().chain(indexes).collect::<Vec<_>>().join("; ")
}

fn check_rights(table: &Table, findings: &mut Findings) {
    let user = quote_one(&table.user);
    if !table.is_schema_usable {
        let schema = quote_one(&table.schema);
        findings.add(&format!(
            "user {user} may not use schema {schema}; grant it with \
             `GRANT USAGE ON SCHEMA {schema} TO {user}`"
        ));
    }
    if !table.missing_rights.is_empty() {
        let rights = table.missing_rights.join(", ");
        let name = findings.model.table;
        let quoted = quote(name);
        findings.add(&format!(
            "user {user} lacks rights on table `{name}`; grant them with \
             `GRANT {rights} ON {quoted} TO {user}`"
        ));
    }
}

fn check_column(column: &ColumnDescriptor, table: &Table, findings: &mut Findings) {
    let (name, alter) = (findings.model.table, findings.alter());
    let quoted = quote_one(column.column);
    let place = format!("column `{}` of table `{name}`", column.column);
    let Some(found) = table.columns.iter().find(|found| found.name == column.column) else {
        findings.add(&format!(
            "table `{name}` has no column `{}`; add it with `{alter} ADD COLUMN {}`",
            column.column,
            ddl::column(findings.model, column)
        ));
        return;
    };
    let sql_type = column.sql_type();
    if !is_of_type(column.ty, found) {
        findings.add(&format!(
            "{place} is `{}`, but field `{}` needs `{}`; change one of them, the column with \
             `{alter} ALTER COLUMN {quoted} TYPE {}`",
            found.r#type, column.field, sql_type, sql_type
        ));
    } else if is_rounded(column, found) {
        findings.advise(&format!(
            "{place} is `{}`, to which PostgreSQL rounds what was written; make it exact with \
             `{alter} ALTER COLUMN {quoted} TYPE {}`",
            found.r#type, sql_type
        ));
    }
    for label in missing_labels(column.ty, found) {
        findings.add(&format!(
            "type `{}` has no value `{label}`, but field `{}` may be that; add it with \
             `ALTER TYPE {} ADD VALUE {}`",
            found.r#type,
            column.field,
            innermost(column.ty),
            ddl::literal(label)
        ));
    }
    if column.read_only {
        check_read_only(column, found, &place, findings);
        return;
    }
    if found.is_generated {
        findings.add(&format!(
            "{place} is generated, so that it takes no value; make it a plain column, or leave \
             field `{}` out",
            column.field
        ));
    }
    if ddl::is_serial(findings.model, column) && !found.has_sequence {
        let (add, set) = ddl::add_sequence(&quote(name), column.column, found.has_default);
        findings.add(&format!(
            "{place} has no sequence of its own, but field `{}` is serial; add one with `{add}`, \
             and let it begin above the ids that are there with `{set}`",
            column.field
        ));
    }
    if column.nullable && found.is_not_null {
        findings.add(&format!(
            "{place} is NOT NULL, but field `{}` is an `Option`; allow it with \
             `{alter} ALTER COLUMN {quoted} DROP NOT NULL`, or make the field none",
            column.field
        ));
    }
}

/// The type of an array's elements; any other type itself.
fn innermost(ty: ColumnType) -> ColumnType {
    match ty {
        ColumnType::Array(element) => innermost(*element),
        ty => ty,
    }
}

/// The drain writes nothing to it.
fn check_read_only(
    column: &ColumnDescriptor,
    found: &Column,
    place: &str,
    findings: &mut Findings,
) {
    if found.is_not_null && !found.has_default && !found.is_generated {
        findings.add(&format!(
            "{place} needs a value, but field `{}` is read-only; give it a DEFAULT, or make it \
             `GENERATED`",
            column.field
        ));
    }
}

/// A row of the model has no value for these.
fn check_other_columns(table: &Table, findings: &mut Findings) {
    let model = findings.model;
    for found in &table.columns {
        let is_known = model.columns.iter().any(|column| column.column == found.name);
        if !is_known && found.is_not_null && !found.has_default && !found.is_generated {
            findings.add(&format!(
                "table `{}` has a column `{}` that needs a value, and the model has none for it; \
                 add a field, or allow it with `{} ALTER COLUMN {} DROP NOT NULL`",
                model.table,
                found.name,
                findings.alter(),
                quote_one(&found.name)
            ));
        }
    }
}

fn check_id(table: &Table, findings: &mut Findings) {
    let model = findings.model;
    if !table.has_id_key(model) {
        let (name, columns) = (model.table, columns(model, model.id));
        findings.add(&format!(
            "table `{name}` has no unique index on exactly the id ({columns}) that is neither \
             partial nor deferrable; add it with `CREATE UNIQUE INDEX ON {} ({columns})`",
            quote(name)
        ));
    }
}

/// A unique index that is missing lets rows in that the model rules out; another one that is
/// missing costs time.
fn check_indexes(table: &Table, findings: &mut Findings) {
    let model = findings.model;
    for (index, is_unique) in ddl::indexes(model) {
        if has_index(table, model, index, is_unique) {
            continue;
        }
        let (kind, columns) =
            (if is_unique { "unique " } else { "" }, columns(model, index.columns));
        let rows = index.when.map(|when| format!(" where {when}")).unwrap_or_default();
        let message = format!(
            "table `{}` has no {kind}index on exactly ({columns}){rows}; add it with `{}`",
            model.table,
            ddl::create_index(model, index, is_unique, &[model]).up
        );
        if is_unique { findings.add(&message) } else { findings.advise(&message) }
    }
}

/// Whether a table has as many indexes of these columns as are declared up to this one.
fn has_index(
    table: &Table,
    model: &ModelDescriptor,
    index: &IndexDescriptor,
    is_unique: bool,
) -> bool {
    let names = column_names(model, index.columns);
    // PostgreSQL writes a condition in its own way, which cannot be compared.
    let is_of_some = index.when.is_some();
    let found = table.indexes.iter().filter(|found| {
        found.is_valid && found.has_all(&names) && found.condition.is_some() == is_of_some
    });
    let (unique, others): (Vec<_>, Vec<_>) = found.partition(|found| found.is_unique);
    let is_alike = |other: &&IndexDescriptor| {
        other.columns == index.columns && other.when.is_some() == is_of_some
    };
    let before = |all: &'static [IndexDescriptor]| {
        all.iter().take_while(|other| *other != index).filter(is_alike).count()
    };
    if is_unique {
        return unique.len() > before(model.unique);
    }
    // A unique one does as well, unless it is there for what is declared to be unique.
    let spare = unique.len().saturating_sub(model.unique.iter().filter(is_alike).count());
    others.len() + spare > before(model.indexes)
}

/// What changes rows without an entry.
fn check_side_effects(table: &Table, findings: &mut Findings) {
    const BEHIND: &str = "could change rows behind Redis' back";
    let (name, alter) = (findings.model.table, findings.alter());
    for trigger in &table.triggers {
        findings.add(&format!(
            "trigger `{}` on table `{}` {BEHIND}; switch it off with \
             `ALTER TABLE {} DISABLE TRIGGER {}`",
            trigger.name,
            trigger.table,
            trigger.table,
            quote_one(&trigger.name)
        ));
    }
    for key in table.foreign_keys.iter().filter(|key| key.changes_rows) {
        let quoted = quote_one(&key.name);
        findings.add(&format!(
            "foreign key `{}` of table `{name}` {BEHIND} ({}); remove it with \
             `{alter} DROP CONSTRAINT {quoted}` and add it again without an action",
            key.name, key.definition
        ));
    }
    for rule in &table.rules {
        findings.add(&format!(
            "rule `{rule}` on table `{name}` {BEHIND}; remove it with `DROP RULE {} ON {}`",
            quote_one(rule),
            quote(name)
        ));
    }
}
