//! What the compiler says to mistakes with listeners that no name or signature check at run time could find.

#[test]
fn mistakes_with_listeners_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
