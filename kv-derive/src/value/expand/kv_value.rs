//! `impl KvValue` and `impl KvElement`.

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::at_type;
use crate::value::model::{Newtype, TextEnum, Value, Variant};

// impl ::kv_runtime::KvValue for Status {
//     const TYPE: ::kv_runtime::ColumnType = ::kv_runtime::ColumnType::Text;
//     type NotNull = Self;
//     fn encode(&self, …) { __out.push_str(match self { Self::Active => "active", … }); … }
//     fn decode(…) { match __text { Some("active") => Ok(Self::Active), … } }
// }
// impl ::kv_runtime::KvElement for Status {}
pub(super) fn expand_enum(value: &Value, text_enum: &TextEnum) -> TokenStream {
    let Value { ident, runtime, .. } = value;
    let labels = text_enum.variants.iter().map(|variant| &variant.text);
    let column_type = match &text_enum.pg_type {
        Some(name) => quote!(Enum { name: #name, labels: &[#(#labels),*] }),
        None => quote!(Text),
    };
    let variants = text_enum.variants.iter().map(|variant| &variant.ident);
    let texts = text_enum.variants.iter().map(|variant| &variant.text);
    let (variants_again, texts_again) = (variants.clone(), texts.clone());
    let expected = expected(&crate::naming::unraw(ident), &text_enum.variants);
    quote! {
        #[automatically_derived]
        #[allow(deprecated)] // A deprecated variant is stored like the others.
        impl #runtime::KvValue for #ident {
            const TYPE: #runtime::ColumnType = #runtime::ColumnType::#column_type;
            type NotNull = Self;

            fn encode(
                &self,
                __out: &mut ::std::string::String,
            ) -> ::core::result::Result<#runtime::IsNull, #runtime::ValueError> {
                __out.push_str(match self {
                    #(Self::#variants => #texts,)*
                });
                ::core::result::Result::Ok(#runtime::IsNull::No)
            }

            fn decode(
                __text: ::core::option::Option<&str>,
            ) -> ::core::result::Result<Self, #runtime::ValueError> {
                match __text {
                    #(
                        ::core::option::Option::Some(#texts_again) => {
                            ::core::result::Result::Ok(Self::#variants_again)
                        }
                    )*
                    ::core::option::Option::Some(_) => ::core::result::Result::Err(
                        #runtime::ValueError::Invalid { expected: #expected },
                    ),
                    ::core::option::Option::None => {
                        ::core::result::Result::Err(#runtime::ValueError::UnexpectedNull)
                    }
                }
            }
        }

        #[automatically_derived]
        impl #runtime::KvElement for #ident {}
    }
}

/// More than this would make a message nobody reads.
const VARIANTS_LISTED_MAX: usize = 8;

/// What a message says was expected instead.
fn expected(name: &str, variants: &[Variant]) -> String {
    if variants.len() > VARIANTS_LISTED_MAX {
        return name.to_owned();
    }
    let texts = crate::diagnostics::name_list(variants.iter().map(|variant| &*variant.text));
    format!("{name} ({texts})")
}

// impl ::kv_runtime::KvValue for Reference {
//     const TYPE: ::kv_runtime::ColumnType = <String as ::kv_runtime::KvValue>::TYPE;
//     const NULLABLE: bool = <String as ::kv_runtime::KvValue>::NULLABLE;
//     const HAS_ONE_TEXT: bool = <String as ::kv_runtime::KvValue>::HAS_ONE_TEXT;
//     type NotNull = Self;
//     fn encode(&self, …) { ::kv_runtime::KvValue::encode(&self.0, __out) }
//     fn decode(…) { ::core::result::Result::Ok(Self { 0: ::kv_runtime::KvValue::decode(__text)? }) }
// }
// impl ::kv_runtime::KvElement for Reference where for<'a> String: ::kv_runtime::KvElement {}
// impl ::kv_runtime::KvText for Reference where for<'a> String: ::kv_runtime::KvText {}
// impl ::kv_runtime::KvNumber for Reference
// where
//     for<'a> String: ::kv_runtime::KvNumber + ::kv_runtime::KvElement,
// {
//     type Sum = <String as ::kv_runtime::KvNumber>::Sum;
//     type Average = <String as ::kv_runtime::KvNumber>::Average;
// }
pub(super) fn expand_newtype(value: &Value, newtype: &Newtype) -> TokenStream {
    let Value { ident, runtime, .. } = value;
    let Newtype { field, ty } = newtype;
    let bound = at_type(ty, quote!(#runtime::KvValue));
    quote! {
        #[automatically_derived]
        impl #runtime::KvValue for #ident
        where
            #ty: #bound,
        {
            const TYPE: #runtime::ColumnType = <#ty as #runtime::KvValue>::TYPE;
            const NULLABLE: bool = <#ty as #runtime::KvValue>::NULLABLE;
            const HAS_ONE_TEXT: bool = <#ty as #runtime::KvValue>::HAS_ONE_TEXT;
            type NotNull = Self;

            fn encode(
                &self,
                __out: &mut ::std::string::String,
            ) -> ::core::result::Result<#runtime::IsNull, #runtime::ValueError> {
                #runtime::KvValue::encode(&self.#field, __out)
            }

            fn decode(
                __text: ::core::option::Option<&str>,
            ) -> ::core::result::Result<Self, #runtime::ValueError> {
                ::core::result::Result::Ok(Self { #field: #runtime::KvValue::decode(__text)? })
            }
        }

        // The unused lifetime has the compiler ask only where it is used, because not every
        // inner type is an element.
        #[automatically_derived]
        impl #runtime::KvElement for #ident
        where
            for<'__a> #ty: #runtime::KvElement,
        {
        }

        #[automatically_derived]
        impl #runtime::KvText for #ident
        where
            for<'__a> #ty: #runtime::KvText,
        {
        }

        // What values come to need not be a value of the type itself.
        #[automatically_derived]
        impl #runtime::KvNumber for #ident
        where
            for<'__a> #ty: #runtime::KvNumber + #runtime::KvElement,
        {
            type Sum = <#ty as #runtime::KvNumber>::Sum;
            type Average = <#ty as #runtime::KvNumber>::Average;
        }
    }
}

// An impl that compiles: without it, every use of the type would be one more error.
pub(crate) fn fallback(value: &Value) -> TokenStream {
    let Value { ident, runtime, .. } = value;
    quote! {
        impl #runtime::KvValue for #ident {
            const TYPE: #runtime::ColumnType = #runtime::ColumnType::Text;
            type NotNull = Self;

            fn encode(
                &self,
                _: &mut ::std::string::String,
            ) -> ::core::result::Result<#runtime::IsNull, #runtime::ValueError> {
                ::core::unreachable!()
            }

            fn decode(
                _: ::core::option::Option<&str>,
            ) -> ::core::result::Result<Self, #runtime::ValueError> {
                ::core::unreachable!()
            }
        }

        impl #runtime::KvElement for #ident {}
    }
}
