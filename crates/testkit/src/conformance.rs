//! The conformance cases, named as assertions; `docs/states.md` says what each shows. A case is a plain
//! `pub async fn name(h: &impl Harness)` in its family's file and stands once in the list below.

pub mod add;

/// Makes one test per case for a harness, which must be named by an absolute path.
#[macro_export]
macro_rules! conformance {
    ($harness:ty) => {
        $crate::cases! { $harness;
            add: jobs_are_taken_in_the_order_they_were_added;
        }
    };
}

/// Unfolds the list.
#[macro_export]
macro_rules! cases {
    ($harness:ty; $($family:ident: $($case:ident),+ $(,)?;)+) => {
        $(mod $family {
            $(#[tokio::test]
            async fn $case() {
                $crate::harness::run::<$harness>(async |h| $crate::conformance::$family::$case(h).await).await;
            })+
        })+
    };
}
