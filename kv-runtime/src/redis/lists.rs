//! Lists and sets.

use redis::Cmd;

use super::{At, Error, Family, FromRedisValue, Redis, ToRedisArgs, read};

/// # Lists
impl Redis {
    /// Appends values to the end of a list, and answers how long it is then.
    ///
    /// # Errors
    /// [`Error::List`], or what any call can fail with.
    pub async fn rpush<V: ToRedisArgs>(&self, key: &str, values: &[V]) -> Result<u64, Error> {
        self.query(At::new(Family::List, "rpush", key), &Cmd::rpush(self.key(key), values)).await
    }

    /// Takes up to `count` values from the beginning of a list; of none, none.
    ///
    /// # Errors
    /// [`Error::Parsing`] where one of them is no `T`: they are taken all the same. Or as
    /// [`Redis::rpush`].
    pub async fn lpop<T: FromRedisValue>(&self, key: &str, count: usize) -> Result<Vec<T>, Error> {
        let at = At::new(Family::List, "lpop", key);
        let mut command = redis::cmd("LPOP");
        command.arg(self.key(key)).arg(count);
        self.query(at, &command).await
    }

    /// The values of a list from one position to another, both included; negative ones count from
    /// the end, so that `0` and `-1` are all.
    ///
    /// # Errors
    /// [`Error::Parsing`] where one of them is no `T`, or as [`Redis::rpush`].
    pub async fn lrange<T: FromRedisValue>(
        &self,
        key: &str,
        from: isize,
        to: isize,
    ) -> Result<Vec<T>, Error> {
        let at = At::new(Family::List, "lrange", key);
        read(at, self.found(at, |key| Cmd::lrange(key, from, to)).await?)
    }

    /// How long a list is.
    ///
    /// # Errors
    /// As [`Redis::rpush`].
    pub async fn llen(&self, key: &str) -> Result<u64, Error> {
        self.query(At::new(Family::List, "llen", key), &Cmd::llen(self.key(key))).await
    }
}

/// # Sets
impl Redis {
    /// Adds members to a set, and answers how many of them are new.
    ///
    /// # Errors
    /// [`Error::Set`], or what any call can fail with.
    pub async fn sadd<V: ToRedisArgs>(&self, key: &str, members: &[V]) -> Result<u64, Error> {
        self.query(At::new(Family::Set, "sadd", key), &Cmd::sadd(self.key(key), members)).await
    }

    /// Removes members from a set, and answers how many of them there were.
    ///
    /// # Errors
    /// As [`Redis::sadd`].
    pub async fn srem<V: ToRedisArgs>(&self, key: &str, members: &[V]) -> Result<u64, Error> {
        self.query(At::new(Family::Set, "srem", key), &Cmd::srem(self.key(key), members)).await
    }

    /// The members of a set, in no order, as a list or a set.
    ///
    /// # Errors
    /// [`Error::Parsing`] where they are no `T`, or as [`Redis::sadd`].
    pub async fn smembers<T: FromRedisValue>(&self, key: &str) -> Result<T, Error> {
        let at = At::new(Family::Set, "smembers", key);
        read(at, self.found(at, |key| Cmd::smembers(key)).await?)
    }
}
