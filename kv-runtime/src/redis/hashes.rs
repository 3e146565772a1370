//! Hashes.

use std::sync::LazyLock;

use redis::{Cmd, Script, ToSingleRedisArg, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::strings::{from_json, to_json};
use super::{
    At, Error, Expiry, Family, FromRedisValue, Redis, SetReply, ToRedisArgs, milliseconds, read,
};

static HSET_IF_ABSENT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("hset_if_absent.lua")));

/// # Hashes
///
/// The time to live is that of the whole hash, and begins anew with each field that is set.
impl Redis {
    /// Sets a field, and has the hash live for the default time from now on.
    ///
    /// # Errors
    /// [`Error::Hash`], or what any call can fail with.
    pub async fn hset(
        &self,
        key: &str,
        field: &str,
        value: impl ToSingleRedisArg,
    ) -> Result<(), Error> {
        self.hset_many_with(key, &[(field, value)], Expiry::Default).await
    }

    /// Sets a field to a value's JSON, and has the hash live for the default time from now on.
    ///
    /// # Errors
    /// [`Error::Encoding`], or as [`Redis::hset`].
    pub async fn hset_json<T: Serialize + ?Sized>(
        &self,
        key: &str,
        field: &str,
        value: &T,
    ) -> Result<(), Error> {
        let json = to_json(At::new(Family::Hash, "hset_json", key), value)?;
        self.hset(key, field, json).await
    }

    /// Sets fields, and has the hash live for the default time from now on.
    ///
    /// # Errors
    /// As [`Redis::hset`].
    pub async fn hset_many<F: ToRedisArgs, V: ToRedisArgs>(
        &self,
        key: &str,
        fields: &[(F, V)],
    ) -> Result<(), Error> {
        self.hset_many_with(key, fields, Expiry::Default).await
    }

    /// Sets fields, and has the hash live for a time from now on: both or neither.
    /// [`Expiry::Never`] leaves the time that it has.
    ///
    /// # Errors
    /// As [`Redis::hset`].
    pub async fn hset_many_with<F: ToRedisArgs, V: ToRedisArgs>(
        &self,
        key: &str,
        fields: &[(F, V)],
        expiry: Expiry,
    ) -> Result<(), Error> {
        let at = At::new(Family::Hash, "hset", key);
        let key = self.key(key);
        let mut pipeline = redis::pipe();
        pipeline.cmd("HSET").arg(&key).arg(fields).ignore();
        if let Some(ttl) = expiry.or(self.settings().default_hash_ttl) {
            pipeline.atomic().pexpire(&key, milliseconds(ttl)).ignore();
        }
        self.query_all(at, &pipeline).await
    }

    /// Sets a field, if the hash has none of this name; then it lives for the default time from now
    /// on.
    ///
    /// # Errors
    /// As [`Redis::hset`].
    pub async fn hset_if_absent(
        &self,
        key: &str,
        field: &str,
        value: impl ToSingleRedisArg,
    ) -> Result<SetReply, Error> {
        let at = At::new(Family::Hash, "hset_if_absent", key);
        let ttl = self.settings().default_hash_ttl.map_or(0, milliseconds);
        let mut call = HSET_IF_ABSENT.key(self.key(key));
        call.arg(field).arg(value).arg(ttl);
        self.invoke::<bool>(at, &call).await.map(SetReply::from)
    }

    /// A field's value.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Parsing`] where it is no `T`; or as [`Redis::hset`].
    pub async fn hget<T: FromRedisValue>(&self, key: &str, field: &str) -> Result<T, Error> {
        let at = At::new(Family::Hash, "hget", key);
        self.find_field(at, field).await?.ok_or_else(|| at.not_found())
    }

    /// A field's value, if there is one.
    ///
    /// # Errors
    /// As [`Redis::hget`], without [`Error::NotFound`].
    pub async fn hfind<T: FromRedisValue>(
        &self,
        key: &str,
        field: &str,
    ) -> Result<Option<T>, Error> {
        self.find_field(At::new(Family::Hash, "hfind", key), field).await
    }

    /// The value whose JSON a field has.
    ///
    /// # Errors
    /// As [`Redis::hget`].
    pub async fn hget_json<T: DeserializeOwned>(&self, key: &str, field: &str) -> Result<T, Error> {
        let at = At::new(Family::Hash, "hget_json", key);
        let json: Option<Vec<u8>> = self.find_field(at, field).await?;
        from_json(at, &json.ok_or_else(|| at.not_found())?)
    }

    /// All fields, as a map or a list of pairs; of no hash, none.
    ///
    /// # Errors
    /// [`Error::Parsing`] where they are no `T`, or as [`Redis::hset`].
    pub async fn hgetall<T: FromRedisValue>(&self, key: &str) -> Result<T, Error> {
        let at = At::new(Family::Hash, "hgetall", key);
        read(at, self.found(at, |key| Cmd::hgetall(key)).await?)
    }

    /// Deletes fields, and answers how many of them there were. The last one takes the hash with
    /// it.
    ///
    /// # Errors
    /// As [`Redis::hset`].
    pub async fn hdel(&self, key: &str, fields: &[&str]) -> Result<u64, Error> {
        self.query(At::new(Family::Hash, "hdel", key), &Cmd::hdel(self.key(key), fields)).await
    }

    async fn find_field<T: FromRedisValue>(
        &self,
        at: At<'_>,
        field: &str,
    ) -> Result<Option<T>, Error> {
        let key = self.key(at.key);
        let mut answer: Value = self.query(at, &Cmd::hget(&key, field)).await?;
        // A hash that has moved and lost the field is not looked for under its old key.
        if matches!(answer, Value::Nil)
            && self.falls_back()
            && !self.query::<bool>(at, &Cmd::exists(&key)).await?
        {
            answer = self.query(at, &Cmd::hget(at.key, field)).await?;
        }
        match answer {
            Value::Nil => Ok(None),
            answer => read(at, answer).map(Some),
        }
    }
}
