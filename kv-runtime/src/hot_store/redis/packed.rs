//! Several values in one argument of a script, which takes them apart by `cmsgpack.unpack`: each
//! argument costs the server more than a value in one.

use redis::{RedisWrite, ToRedisArgs};
use rmp::encode::{ByteBuf, RmpWrite, write_bool, write_nil, write_str, write_str_len, write_uint};

/// Values one behind the other, as MessagePack.
#[derive(Debug, Default)]
pub(super) struct Packed(ByteBuf);

impl Packed {
    /// With room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(ByteBuf::with_capacity(bytes))
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let Ok(()) = write_str(&mut self.0, text);
        self
    }

    /// A text, or nothing.
    pub(super) fn text_if_any(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => {
                let Ok(()) = write_nil(&mut self.0);
                self
            }
        }
    }

    /// Others, which are taken apart by themselves.
    pub(super) fn packed(&mut self, other: &Self) -> &mut Self {
        // Servers know no other type of bytes than text.
        let bytes = other.0.as_slice();
        let Ok(_) = write_str_len(&mut self.0, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let Ok(()) = self.0.write_bytes(bytes);
        self
    }

    /// In a script it has 53 bits.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        let Ok(_) = write_uint(&mut self.0, number);
        self
    }

    pub(super) fn flag(&mut self, is_set: bool) -> &mut Self {
        let Ok(()) = write_bool(&mut self.0, is_set);
        self
    }
}

impl ToRedisArgs for Packed {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg(self.0.as_slice());
    }
}
