//! What models need and their tables lack, as steps of a migration.
//!
//! PostgreSQL writes conditions in its own way. So what the model wants is made as a temporary
//! table, beside the real one, and the catalog's words on both are compared.

use diesel::sql_types::{Array, Text};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};

use super::super::classify;
use super::columns::{has_bounds, is_of_type, is_rounded, may_lose};
use super::{Column, ForeignKey, Index, Table, column_names, describe};
use crate::durable_store::DurableStoreError;
use crate::model::{ColumnDescriptor, ModelDescriptor, ReferenceDescriptor};
use crate::schema::ddl::{self, EnumType};
use crate::schema::name::{check_name, columns, quote, quote_one, reference_name, split};
use crate::schema::step::Step;

/// Temporary tables come before all others of their name.
const WANTED: &str = "kv_wanted";

const UNKNOWN: &str = "The model does not know this; run it if nobody needs it.";

#[derive(diesel::QueryableByName)]
struct TypeRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Array<Text>)]
    labels: Vec<String>,
}

/// The steps from the tables to some models among others. It changes nothing: what it makes is
/// rolled back.
pub(in super::super) async fn difference(
    connection: &mut AsyncPgConnection,
    models: &[&'static ModelDescriptor],
    all: &[&'static ModelDescriptor],
) -> Result<Vec<Step>, DurableStoreError> {
    AnsiTransactionManager::begin_transaction(connection).await.map_err(classify)?;
    let steps = compare(connection, models, all).await;
    AnsiTransactionManager::rollback_transaction(connection).await.map_err(classify)?;
    steps
}

async fn compare(
    connection: &mut AsyncPgConnection,
    models: &[&'static ModelDescriptor],
    all: &[&'static ModelDescriptor],
) -> Result<Vec<Step>, DurableStoreError> {
    let names: Vec<&str> = models.iter().map(|model| model.table).collect();
    let tables = describe(connection, &names).await?;
    let mut steps = types(connection, models).await?;
    let mut references = Vec::new();
    let mut proposals = Vec::new();
    for (model, table) in models.iter().zip(&tables) {
        let Some(table) = table else {
            steps.extend(ddl::create(model, all));
            let keys = model.references.iter().map(|key| ddl::add_reference(model, key));
            references.extend(keys);
            continue;
        };
        if !["r", "p"].contains(&table.kind.as_str()) {
            let message = format!("`{}` is a view or a foreign table", model.table);
            return Err(DurableStoreError::Configuration(message.into()));
        }
        let wanted = wanted(connection, model, table, all).await?;
        steps.extend(column_steps(model, table, &quote(model.table)));
        steps.extend(index_steps(model, table, &wanted, all));
        steps.extend(check_steps(model, table, &wanted));
        references.extend(reference_steps(model, table));
        proposals.extend(proposed(model, table, &wanted));
    }
    Ok(steps.into_iter().chain(references).chain(proposals).collect())
}

/// Makes the types that are missing, also for what is looked at afterwards.
pub(super) async fn types(
    connection: &mut AsyncPgConnection,
    models: &[&'static ModelDescriptor],
) -> Result<Vec<Step>, DurableStoreError> {
    let types = EnumType::all_of(models);
    let names: Vec<&str> = types.iter().map(|ty| ty.name).collect();
    let sql = "SELECT t.typname::text AS name, ARRAY(
            SELECT v.enumlabel::text FROM pg_enum AS v WHERE v.enumtypid = t.oid
        ) AS labels
        FROM pg_type AS t
        WHERE t.typname = ANY($1) AND t.typtype = 'e' AND pg_type_is_visible(t.oid)";
    let query = diesel::sql_query(sql).bind::<Array<Text>, _>(names);
    let known: Vec<TypeRow> = query.load(connection).await.map_err(classify)?;
    let mut steps = Vec::new();
    for ty in types {
        match known.iter().find(|row| row.name == ty.name) {
            Some(row) => steps.extend(label_steps(&ty, &row.labels)),
            None => {
                let step = ty.create();
                connection.batch_execute(&step.up).await.map_err(classify)?;
                steps.push(step);
            }
        }
    }
    Ok(steps)
}

/// Labels can be added, each in its place, and never be taken away.
fn label_steps(ty: &EnumType, known: &[String]) -> Vec<Step> {
    let is_known = |label: &str| known.iter().any(|it| it == label);
    let missing = ty.labels.iter().enumerate().filter(|(_, label)| !is_known(label));
    let step = |(at, label): (usize, &&str)| {
        let next = ty.labels[at..].iter().find(|label| is_known(label));
        let place = match (at.checked_sub(1).map(|before| ty.labels[before]), next) {
            (Some(before), _) => format!(" AFTER {}", ddl::literal(before)),
            (None, Some(next)) => format!(" BEFORE {}", ddl::literal(next)),
            (None, None) => String::new(),
        };
        let (name, label) = (quote_one(ty.name), ddl::literal(label));
        let up = format!("ALTER TYPE {name} ADD VALUE {label}{place}");
        Step { down: None, ..Step::new(up, String::new()) }
    };
    missing.map(step).collect()
}

/// The table as it will be, without its foreign keys, which expressions say nothing of.
async fn wanted(
    connection: &mut AsyncPgConnection,
    model: &'static ModelDescriptor,
    table: &Table,
    models: &[&'static ModelDescriptor],
) -> Result<Table, DurableStoreError> {
    let mut sql = vec![format!("CREATE TEMPORARY TABLE {WANTED} (LIKE {})", quote(model.table))];
    let columns = column_steps(model, table, WANTED);
    sql.extend(columns.into_iter().filter(|step| !step.is_proposal).map(|step| step.up));
    sql.extend(proposed_types(model, table));
    let indexes = ddl::indexes(model)
        .map(|(index, is_unique)| ddl::create_index_on(WANTED, model, index, is_unique, models));
    sql.extend(indexes);
    let checks = model.checks.iter().map(|check| ddl::check(model, check));
    sql.extend(checks.map(|check| format!("ALTER TABLE {WANTED} ADD {check}")));
    connection.batch_execute(&sql.join(";\n")).await.map_err(classify)?;
    let wanted = describe(connection, &[WANTED]).await?.into_iter().flatten().next();
    connection.batch_execute(&format!("DROP TABLE {WANTED}")).await.map_err(classify)?;
    wanted.ok_or_else(|| {
        DurableStoreError::Configuration("a temporary table is hidden by another one".into())
    })
}

/// The types that are for a person to change, because conditions are about the model's.
fn proposed_types(model: &ModelDescriptor, table: &Table) -> Vec<String> {
    let is_proposed = |column: &&ColumnDescriptor| {
        let found = table.columns.iter().find(|found| found.name == column.column);
        found.is_some_and(|found| may_lose(column, found))
    };
    let change = |column: &ColumnDescriptor| {
        let name = quote_one(column.column);
        // There are no rows, and not every type can be cast to every other.
        format!("ALTER TABLE {WANTED} ALTER COLUMN {name} TYPE {} USING NULL", column.sql_type())
    };
    model.columns.iter().filter(is_proposed).map(change).collect()
}

/// What is to be done to columns, in a table of this name.
fn column_steps(model: &ModelDescriptor, table: &Table, name: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for column in model.columns {
        let quoted = quote_one(column.column);
        let alter = format!("ALTER TABLE {name} ALTER COLUMN {quoted}");
        let Some(found) = table.columns.iter().find(|found| found.name == column.column) else {
            let add = format!("ALTER TABLE {name} ADD COLUMN {}", ddl::column(model, column));
            let step = Step::new(add, format!("ALTER TABLE {name} DROP COLUMN {quoted}"));
            steps.push(if column.nullable {
                step
            } else {
                step.with_note(
                    "Rows that are there need a value: where there are any, give this a DEFAULT.",
                )
            });
            continue;
        };
        steps.extend(type_step(column, found, name));
        // What PostgreSQL fills, it may as well promise to.
        if column.read_only {
            continue;
        }
        let (set, drop) = (format!("{alter} SET NOT NULL"), format!("{alter} DROP NOT NULL"));
        match (column.nullable, found.is_not_null) {
            (true, true) => steps.push(Step::new(drop, set)),
            (false, false) => steps.push(
                Step::new(set, drop).with_note("It fails where a row has NULL: fill it before."),
            ),
            _ => {}
        }
        if ddl::is_serial(model, column) && !found.has_sequence {
            steps.push(sequence_step(column, found, name));
        }
    }
    for found in &table.columns {
        let is_known = model.columns.iter().any(|column| column.column == found.name);
        if !is_known && found.is_not_null && !found.has_default && !found.is_generated {
            let alter = format!("ALTER TABLE {name} ALTER COLUMN {}", quote_one(&found.name));
            let (set, drop) = (format!("{alter} SET NOT NULL"), format!("{alter} DROP NOT NULL"));
            steps.push(Step::new(drop, set).with_note("The model has no value for it."));
        }
    }
    steps
}

/// What gives a column the type of its field; a type that may lose something is for a person.
fn type_step(column: &ColumnDescriptor, found: &Column, table: &str) -> Option<Step> {
    let quoted = quote_one(column.column);
    let to_type = |ty: &str| {
        format!("ALTER TABLE {table} ALTER COLUMN {quoted} TYPE {ty} USING {quoted}::{ty}")
    };
    let (ty, old) = (column.sql_type(), &found.r#type);
    if may_lose(column, found) {
        let note = format!("From `{old}`, values may change or be refused: look, then run this.");
        return Some(Step::propose(to_type(&ty), note));
    }
    if !is_of_type(column.ty, found) || !has_bounds(column, found) {
        return Some(Step::new(to_type(&ty), to_type(old)));
    }
    is_rounded(column, found).then(|| {
        let note = format!("`{old}` rounds what was written; run this to keep it exactly.");
        Step::propose(to_type(&ty), note)
    })
}

/// What gives a serial id its sequence; where the type is for a person to change, which may not
/// be an integer yet, so is this.
fn sequence_step(column: &ColumnDescriptor, found: &Column, table: &str) -> Step {
    let (add, set) = ddl::add_sequence(table, column.column, found.has_default);
    let note = format!("Numbers begin with 1; when all is drained, begin above: `{set}`.");
    if may_lose(column, found) {
        return Step::propose(add, note);
    }
    let drop =
        format!("ALTER TABLE {table} ALTER COLUMN {} DROP IDENTITY", quote_one(column.column));
    Step::new(add, drop).with_note(note)
}

impl Index {
    /// Whether it does what the wanted one is for.
    fn fits(&self, wanted: &Self) -> bool {
        self.is_valid
            && self.columns == wanted.columns
            && self.is_unique == wanted.is_unique
            // No foreign key refers to what can be deferred.
            && (self.is_immediate || !wanted.is_immediate)
            && self.condition == wanted.condition
    }

    fn drop(&self, model: &ModelDescriptor) -> String {
        match self.constraint {
            Some(_) => ddl::drop_constraint(model, &self.name),
            None => ddl::drop_index(model, &self.name),
        }
    }

    /// The statement that makes it again.
    fn create(&self, model: &ModelDescriptor) -> String {
        let (table, name) = (quote(model.table), quote_one(&self.name));
        match &self.constraint {
            Some(constraint) => format!("ALTER TABLE {table} ADD CONSTRAINT {name} {constraint}"),
            None => self.definition.clone(),
        }
    }
}

/// Indexes that are missing; one of the same name that is another one makes room.
fn index_steps(
    model: &'static ModelDescriptor,
    table: &Table,
    wanted: &Table,
    models: &[&'static ModelDescriptor],
) -> Vec<Step> {
    let mut steps = Vec::new();
    if !table.has_id_key(model) {
        let table = quote(model.table);
        let up = format!("CREATE UNIQUE INDEX ON {table} ({})", columns(model, model.id));
        steps.push(Step { down: None, ..Step::new(up, String::new()) });
    }
    for (index, is_unique) in ddl::indexes(model) {
        let name = ddl::name_of(model, index, is_unique);
        let Some(wanted) = wanted.indexes.iter().find(|it| it.name == name) else { continue };
        if table.indexes.iter().any(|found| found.fits(wanted)) {
            continue;
        }
        if let Some(found) = table.indexes.iter().find(|found| found.name == name) {
            steps.push(Step::new(found.drop(model), found.create(model)));
        }
        steps.push(ddl::create_index(model, index, is_unique, models));
    }
    steps
}

fn check_steps(model: &ModelDescriptor, table: &Table, wanted: &Table) -> Vec<Step> {
    let missing = model.checks.iter().filter(|condition| {
        let name = check_name(model, condition);
        let wanted = wanted.checks.iter().find(|check| check.name == name);
        !table.checks.iter().any(|found| {
            found.name == name || wanted.is_some_and(|wanted| wanted.condition == found.condition)
        })
    });
    let step = |condition: &&str| {
        let up = format!("ALTER TABLE {} ADD {}", quote(model.table), ddl::check(model, condition));
        Step::new(up, ddl::drop_constraint(model, &check_name(model, condition)))
            .with_note("It fails where a row does not meet it.")
    };
    missing.map(step).collect()
}

impl ForeignKey {
    fn is_same(&self, model: &ModelDescriptor, reference: &ReferenceDescriptor) -> bool {
        let (schema, name) = split(reference.table);
        !self.changes_rows
            && self.columns == column_names(model, reference.columns)
            && self.targets == reference.targets
            && self.table == name
            && schema.map_or(self.is_visible, |schema| schema == self.schema)
    }
}

/// Foreign keys that are missing; one of the same name that is another one makes room.
fn reference_steps(model: &ModelDescriptor, table: &Table) -> Vec<Step> {
    let mut steps = Vec::new();
    for reference in model.references {
        if table.foreign_keys.iter().any(|found| found.is_same(model, reference)) {
            continue;
        }
        let name = reference_name(model, reference);
        if let Some(found) = table.foreign_keys.iter().find(|found| found.name == name) {
            let add = format!(
                "ALTER TABLE {} ADD CONSTRAINT {} {}",
                quote(model.table),
                quote_one(&name),
                found.definition
            );
            steps.push(Step::new(ddl::drop_constraint(model, &name), add));
        }
        steps.push(ddl::add_reference(model, reference));
    }
    steps
}

/// What the table has and the model does not know.
fn proposed(model: &'static ModelDescriptor, table: &Table, wanted: &Table) -> Vec<Step> {
    let mut drops = Vec::new();
    let id = column_names(model, model.id);
    for found in &table.indexes {
        let is_id = found.is_key(&id) && found.condition.is_none();
        let is_known = wanted.indexes.iter().any(|it| found.fits(it) || it.name == found.name);
        if found.columns.is_some() && !is_id && !is_known {
            drops.push(found.drop(model));
        }
    }
    for found in &table.foreign_keys {
        let is_known = model.references.iter().any(|reference| {
            found.is_same(model, reference) || found.name == reference_name(model, reference)
        });
        if !is_known {
            drops.push(ddl::drop_constraint(model, &found.name));
        }
    }
    for found in &table.checks {
        let is_known = wanted
            .checks
            .iter()
            .any(|check| check.condition == found.condition || check.name == found.name);
        if !is_known {
            drops.push(ddl::drop_constraint(model, &found.name));
        }
    }
    for found in &table.columns {
        if !model.columns.iter().any(|column| column.column == found.name) {
            let (table, column) = (quote(model.table), quote_one(&found.name));
            drops.push(format!("ALTER TABLE {table} DROP COLUMN {column}"));
        }
    }
    drops.into_iter().map(|drop| Step::propose(drop, UNKNOWN)).collect()
}
