//! Refuses answers that are cut off.
//!
//! The SDK's XML reader takes a body that ends early for one with fewer elements: a cut CreateFleet answer would hide
//! granted instances, a cut DescribeInstances an orphan. Every EC2 answer closes `<…Response>` last.
use aws_sdk_ec2::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::BoxError,
};

#[derive(Debug)]
pub(crate) struct Whole;

impl Intercept for Whole {
    fn name(&self) -> &'static str {
        "answer is whole"
    }
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let body = response.body().bytes().unwrap_or_default();
        if response.status().is_success() && !body.trim_ascii_end().ends_with(b"Response>") {
            return Err("the answer is cut off".into());
        }
        Ok(())
    }
}
