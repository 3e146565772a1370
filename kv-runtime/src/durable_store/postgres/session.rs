//! Sessions of the pool, which all tenants share: each knows by which schema its names are found.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use ::bb8::ManageConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, PoolError};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use crate::schema::name::quote_one;

/// The schema of a tenant; `None` is what the server, the role and the address say.
pub(super) type Schema = Option<Arc<str>>;

/// A connection, and whose tables its statements are about.
pub(crate) struct Session {
    connection: AsyncPgConnection,
    /// `None` while nobody can say.
    schema: Option<Schema>,
    /// For whom a user had it, who may have left types and statements with it.
    lent_for: Option<Schema>,
}

impl Deref for Session {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}

impl Session {
    fn new(connection: AsyncPgConnection) -> Self {
        Self { connection, schema: Some(None), lent_for: None }
    }

    pub(super) fn into_connection(self) -> AsyncPgConnection {
        self.connection
    }

    /// Has its names found in a schema, and nowhere else.
    pub(super) async fn enter(&mut self, schema: &Schema) -> diesel::QueryResult<()> {
        if self.schema.as_ref() == Some(schema) {
            return Ok(());
        }
        // Who is cancelled meanwhile does not know whether it was heard.
        self.schema = None;
        self.connection.batch_execute(&path_sql(schema)).await?;
        self.schema = Some(schema.clone());
        Ok(())
    }

    /// Whether a user had it for somebody else: what Diesel remembers of types and results would not
    /// fit.
    pub(super) fn is_stale_for(&self, schema: &Schema) -> bool {
        self.lent_for.as_ref().is_some_and(|lent_for| lent_for != schema)
    }

    /// It is lent to a user, who may set another path and not set it back: where there are several,
    /// it is set before the next use.
    pub(super) fn lend(&mut self, schema: &Schema, has_tenants: bool) {
        self.lent_for = Some(schema.clone());
        if has_tenants {
            self.schema = None;
        }
    }
}

/// The statement by which names are found in a schema.
pub(super) fn path_sql(schema: &Schema) -> String {
    match schema {
        Some(schema) => format!("SET search_path TO {}", quote_one(schema)),
        None => "SET search_path TO DEFAULT".to_owned(),
    }
}

/// Opens and looks after sessions.
pub(crate) struct Sessions(pub(super) AsyncDieselConnectionManager<AsyncPgConnection>);

impl ManageConnection for Sessions {
    type Connection = Session;
    type Error = PoolError;

    async fn connect(&self) -> Result<Session, PoolError> {
        self.0.connect().await.map(Session::new)
    }

    async fn is_valid(&self, session: &mut Session) -> Result<(), PoolError> {
        self.0.is_valid(&mut session.connection).await
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        self.0.has_broken(&mut session.connection)
    }
}
