//! The type of a column, where it is not that of the field's type.

use syn::LitStr;

use crate::model::Numeric;

/// PostgreSQL's own bound.
const PRECISION_MAX: u16 = 1_000;

/// The bounds that a column's type says.
pub(super) fn numeric(ty: &LitStr) -> syn::Result<Numeric> {
    parse_numeric(&ty.value()).ok_or_else(|| {
        let message = "`column_type` is `\"numeric(38, 0)\"`: how many digits there are, from 1 to \
                       1000, and how many of them stand behind the point";
        syn::Error::new(ty.span(), message)
    })
}

/// `numeric(38, 0)` as its two numbers.
fn parse_numeric(text: &str) -> Option<Numeric> {
    let bounds = text.strip_prefix("numeric(")?.strip_suffix(')')?;
    let (precision, scale) = bounds.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let is_allowed = (1..=PRECISION_MAX).contains(&precision) && scale <= precision;
    is_allowed.then_some(Numeric { precision, scale })
}

#[cfg(test)]
mod tests {
    use super::{Numeric, parse_numeric};

    #[test]
    fn a_numeric_has_digits_before_and_behind_its_point() {
        for (text, precision, scale) in [
            ("numeric(38, 0)", 38, 0),
            ("numeric(12,2)", 12, 2),
            ("numeric(1000, 1000)", 1000, 1000),
        ] {
            assert_eq!(parse_numeric(text), Some(Numeric { precision, scale }), "{text}");
        }
        for wrong in [
            "",
            "numeric",
            "numeric()",
            "numeric(38)",
            "numeric(0, 0)",
            "numeric(1001, 0)",
            "numeric(2, 3)",
            "numeric(3, -1)",
            "numeric(3, 1, 1)",
            "decimal(3, 1)",
            "text",
        ] {
            assert_eq!(parse_numeric(wrong), None, "{wrong}");
        }
    }
}
