//! From a value to the code of its items. Cannot fail.

mod diesel;
mod kv_value;

use proc_macro2::TokenStream;
use quote::quote;

use super::model::{Shape, Value};

pub(crate) use kv_value::fallback;

/// Everything that the derive writes for a value.
pub(crate) fn expand(value: &Value) -> TokenStream {
    let (kv_value, diesel) = match &value.shape {
        Shape::Enum(text_enum) => {
            (kv_value::expand_enum(value, text_enum), diesel::expand_enum(value, text_enum))
        }
        Shape::Newtype(newtype) => {
            (kv_value::expand_newtype(value, newtype), diesel::expand_newtype(value, newtype))
        }
    };
    let runtime = &value.runtime;
    quote! {
        #kv_value
        #runtime::__private::if_postgres! {
            #[automatically_derived]
            const _: () = {
                use #runtime::__private::diesel;

                #diesel
            };
        }
    }
}
