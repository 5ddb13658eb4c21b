//! The rules R1 to R20, each by its table: first the codec alone, then the whole proxy.

mod codec;
mod served;
mod text;

use l7::http1::reject::Rule;

macro_rules! tables {
    ($($name:ident $rule:ident)*) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn codec() {
                    codec::run(Rule::$rule);
                }

                #[tokio::test(start_paused = true)]
                async fn served() {
                    served::run(Rule::$rule).await;
                }
            }
        )*
    };
}

tables! {
    r01 R01
    r02 R02
    r03 R03
    r04 R04
    r05 R05
    r06 R06
    r07 R07
    r08 R08
    r09 R09
    r10 R10
    r11 R11
    r12 R12
    r13 R13
    r14 R14
    r16 R16
    r18 R18
    r19 R19
    r20 R20
}
