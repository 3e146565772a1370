//! Strings, and what can be done with any key.

use std::time::Duration;

use redis::{Cmd, ExistenceCheck, SetExpiry, SetOptions, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{At, Error, Family, FromRedisValue, Redis, ToSingleRedisArg, milliseconds, read};

/// How long something lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expiry {
    /// As long as the settings say:
    /// [`RedisSettings::default_ttl`](crate::RedisSettings::default_ttl), or of a hash
    /// [`default_hash_ttl`](crate::RedisSettings::default_hash_ttl).
    #[default]
    Default,
    /// This long, a millisecond at least.
    After(Duration),
    /// For ever.
    Never,
}

impl Expiry {
    pub(super) fn or(self, default: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Default => default,
            Self::After(ttl) => Some(ttl),
            Self::Never => None,
        }
    }
}

/// What became of setting something that must not be there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetReply {
    /// It is set.
    Set,
    /// There was something already, and still is.
    NotSet,
}

impl From<bool> for SetReply {
    fn from(is_set: bool) -> Self {
        if is_set { Self::Set } else { Self::NotSet }
    }
}

/// # Strings and keys
impl Redis {
    /// Sets a key for the default time.
    ///
    /// # Errors
    /// [`Error::String`], or what any call can fail with.
    pub async fn set(&self, key: &str, value: impl ToSingleRedisArg) -> Result<(), Error> {
        self.set_with(key, value, Expiry::Default).await
    }

    /// Sets a key for a time.
    ///
    /// # Errors
    /// As [`Redis::set`].
    pub async fn set_with(
        &self,
        key: &str,
        value: impl ToSingleRedisArg,
        expiry: Expiry,
    ) -> Result<(), Error> {
        let options = self.set_options(expiry);
        let command = Cmd::set_options(self.key(key), value, options);
        self.query(At::new(Family::String, "set", key), &command).await
    }

    /// Sets a key for the default time, if there is none.
    ///
    /// # Errors
    /// As [`Redis::set`].
    pub async fn set_if_absent(
        &self,
        key: &str,
        value: impl ToSingleRedisArg,
    ) -> Result<SetReply, Error> {
        self.set_if_absent_with(key, value, Expiry::Default).await
    }

    /// Sets a key for a time, if there is none.
    ///
    /// # Errors
    /// As [`Redis::set`].
    pub async fn set_if_absent_with(
        &self,
        key: &str,
        value: impl ToSingleRedisArg,
        expiry: Expiry,
    ) -> Result<SetReply, Error> {
        let options = self.set_options(expiry).conditional_set(ExistenceCheck::NX);
        let command = Cmd::set_options(self.key(key), value, options);
        let answer = self.query(At::new(Family::String, "set_if_absent", key), &command).await?;
        Ok(SetReply::from(!matches!(answer, Value::Nil)))
    }

    /// Sets a key to a value's JSON for the default time.
    ///
    /// # Errors
    /// [`Error::Encoding`], or as [`Redis::set`].
    pub async fn set_json<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        self.set_json_with(key, value, Expiry::Default).await
    }

    /// Sets a key to a value's JSON for a time.
    ///
    /// # Errors
    /// As [`Redis::set_json`].
    pub async fn set_json_with<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        expiry: Expiry,
    ) -> Result<(), Error> {
        let json = to_json(At::new(Family::String, "set_json", key), value)?;
        self.set_with(key, json, expiry).await
    }

    /// What a key is set to.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Parsing`] where it is no `T`; or as [`Redis::set`].
    pub async fn get<T: FromRedisValue>(&self, key: &str) -> Result<T, Error> {
        let at = At::new(Family::String, "get", key);
        self.find_value(at).await?.ok_or_else(|| at.not_found())
    }

    /// What a key is set to, if it is.
    ///
    /// # Errors
    /// As [`Redis::get`], without [`Error::NotFound`].
    pub async fn find<T: FromRedisValue>(&self, key: &str) -> Result<Option<T>, Error> {
        self.find_value(At::new(Family::String, "find", key)).await
    }

    /// The value whose JSON a key is set to.
    ///
    /// # Errors
    /// As [`Redis::get`].
    pub async fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<T, Error> {
        let at = At::new(Family::String, "get_json", key);
        let json: Option<Vec<u8>> = self.find_value(at).await?;
        from_json(at, &json.ok_or_else(|| at.not_found())?)
    }

    /// The value whose JSON a key is set to, if it is.
    ///
    /// # Errors
    /// As [`Redis::find`].
    pub async fn find_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let at = At::new(Family::String, "find_json", key);
        let json: Option<Vec<u8>> = self.find_value(at).await?;
        json.map(|json| from_json(at, &json)).transpose()
    }

    /// Deletes a key of any type, and answers whether there was one. With
    /// [`fallback_to_unprefixed`](crate::RedisSettings::fallback_to_unprefixed) the key without
    /// prefix goes too, so that it is not found in its place.
    ///
    /// # Errors
    /// As [`Redis::set`].
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        let at = At::new(Family::String, "delete", key);
        let mut deleted: u64 = self.query(at, &Cmd::del(self.key(key))).await?;
        if self.falls_back() {
            deleted += self.query::<u64>(at, &Cmd::del(key)).await?;
        }
        Ok(deleted > 0)
    }

    /// Whether there is a key, of any type.
    ///
    /// # Errors
    /// As [`Redis::set`].
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        let at = At::new(Family::String, "exists", key);
        if self.query(at, &Cmd::exists(self.key(key))).await? {
            return Ok(true);
        }
        Ok(self.falls_back() && self.query(at, &Cmd::exists(key)).await?)
    }

    /// Has a key of any type live for this long from now on, and answers whether there is one.
    ///
    /// # Errors
    /// As [`Redis::set`].
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool, Error> {
        let command = Cmd::pexpire(self.key(key), milliseconds(ttl));
        self.query(At::new(Family::String, "expire", key), &command).await
    }

    /// How long a key of any type lives on; `None` is for ever.
    ///
    /// # Errors
    /// [`Error::NotFound`], or as [`Redis::set`].
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        let at = At::new(Family::String, "ttl", key);
        match self.query::<i64>(at, &Cmd::pttl(self.key(key))).await? {
            -2 => Err(at.not_found()),
            milliseconds => Ok(u64::try_from(milliseconds).ok().map(Duration::from_millis)),
        }
    }

    pub(super) fn set_options(&self, expiry: Expiry) -> SetOptions {
        match expiry.or(self.settings().default_ttl) {
            // It is clamped to what is positive.
            Some(ttl) => {
                let expiry = SetExpiry::PX(milliseconds(ttl).unsigned_abs());
                SetOptions::default().with_expiration(expiry)
            }
            None => SetOptions::default(),
        }
    }

    async fn find_value<T: FromRedisValue>(&self, at: At<'_>) -> Result<Option<T>, Error> {
        match self.found(at, |key| Cmd::get(key)).await? {
            Value::Nil => Ok(None),
            answer => read(at, answer).map(Some),
        }
    }
}

pub(super) fn to_json<T: Serialize + ?Sized>(at: At<'_>, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| at.not_as_json::<T>(&error))
}

pub(super) fn from_json<T: DeserializeOwned>(at: At<'_>, json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| at.no_json::<T>(&error))
}
