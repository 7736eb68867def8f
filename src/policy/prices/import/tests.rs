use super::*;

fn hourly(i: &Import, kind: &str, market: Market) -> Option<u64> {
    i.prices.hourly("us-east-2", kind, market).map(|p| p.0)
}

#[test]
fn a_table_is_read_with_its_head_comments_and_volumes() {
    let text = "# ours\nRegion,Type,Market,usd_per_hour\nus-east-2, hpc7a.96xlarge ,on-demand,7.20\n\n\
                us-east-2,\"hpc7a.96xlarge\",spot,2.8800000001\nus-east-2,ebs_gib_month,,0.08\n";
    let i = import(text, Form::Csv).expect("reads");
    assert_eq!(hourly(&i, "hpc7a.96xlarge", Market::OnDemand), Some(7_200_000));
    assert_eq!(hourly(&i, "hpc7a.96xlarge", Market::Spot), Some(2_880_001), "rounded up");
    assert_eq!(i.prices.ebs_gib_month["us-east-2"], MicroUsd(80_000));
}

#[test]
fn every_bad_line_of_a_table_is_told_with_its_number() {
    let text = "us-east-2,hpc7a.96xlarge,on-demand,7.20\nus-east-2,hpc7a,on-demand,1\nmars,a.b,spot,1\n\
                us-east-2,a.b,reserved,1\nus-east-2,a.b,spot,-1\nus-east-2,a.b,spot\nus-east-2,a.b,spot,0.0\n\
                us-east-2,hpc7a.96xlarge,on-demand,7.30\nus-east-2,ebs_gib_month,spot,1\n";
    let wrong = import(text, Form::Csv).expect_err("bad");
    let lines: Vec<usize> = wrong.iter().map(|w| w.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8, 9], "{wrong:#?}");
    assert!(wrong[6].text.contains("line 1"), "{wrong:#?}");
    let endless = "x\n".repeat(1_000_000);
    assert_eq!(import(&endless, Form::Csv).expect_err("bad").len(), MOST_WRONG);
}

#[test]
fn a_list_without_a_price_is_refused_and_no_price_is_more_than_can_be_read_back() {
    let types =
        |types: &str| format!(r#"{{"source":"x","regions":{{"us-east-2":{{"types":{{{types}}}}}}}}}"#);
    let none = import(&types(r#""a.b":{}"#), Form::Json).expect_err("no price");
    assert!(none[0].text.contains("no price in it"), "{none:?}");
    let some = import(&types(r#""a.b":{},"c.d":{"spot":"1"}"#), Form::Json).expect("one price");
    assert_eq!(Prices::parse(&some.prices.to_text()), Ok(some.prices));
    // The largest amount, and a little more.
    for (usd, good) in [("1000000000", true), ("1000000000.0000000", true), ("1000000000.0000001", false)] {
        let read = import(&format!("us-east-2,a.b,spot,{usd}\n"), Form::Csv);
        assert_eq!(read.is_ok(), good, "{usd}: {read:?}");
    }
}

#[test]
fn our_own_file_comes_back_as_it_was_and_errors_know_their_line() {
    let text = "{\n \"source\": \"x\",\n \"regions\": {\"us-east-2\": {\n  \"types\": {\"hpc7a.96xlarge\": {\n   \
                \"on-demand\": \"7.2\"}}}}}";
    let i = import(text, Form::Json).expect("reads");
    assert_eq!(
        (i.prices.source.as_str(), hourly(&i, "hpc7a.96xlarge", Market::OnDemand)),
        ("x", Some(7_200_000))
    );
    assert_eq!(Prices::parse(&i.prices.to_text()), Ok(i.prices.clone()));
    let wrong = |from: &str, to: &str| import(&text.replace(from, to), Form::Json).expect_err(to).remove(0);
    assert_eq!(wrong("7.2", "seven").line, 5);
    assert_eq!(wrong("on-demand", "weekly").line, 5);
    assert_eq!(wrong("hpc7a.96xlarge", "x").line, 4);
    assert_eq!(wrong("us-east-2", "x").line, 3);
    assert_eq!(wrong("\"types\"", "\"tips\"").line, 4);
    assert_eq!(wrong("{\n", "{,\n").line, 1);
    assert!(import("{\"a\":1}", Form::Json).expect_err("neither")[0].text.contains("products"));
    assert!(import("[]", Form::Json).is_err());
    // A key that would write on the reader's terminal (found by fuzzing), and a source that would.
    assert!(wrong("source", "s\u{7f}urce").text.contains("s\\u{7f}urce"));
    let odd = import(&text.replace("\"x\"", "\"x\\u001b[2J\""), Form::Json).expect("reads").prices;
    assert_eq!(odd.source, "x\\u{1b}[2J");
    assert_eq!(Prices::parse(&odd.to_text()), Ok(odd));
}

/// The shape of AWS's bulk file.
const BULK: &str = r#"{"formatVersion":"v1.0","offerCode":"AmazonEC2","version":"20260901","publicationDate":"2026-09-01T00:00:00Z",
 "products":{
  "A":{"sku":"A","productFamily":"Compute Instance","attributes":{"regionCode":"us-east-2","instanceType":"hpc7a.96xlarge","operatingSystem":"Linux","tenancy":"Shared","capacitystatus":"Used","preInstalledSw":"NA","marketoption":"OnDemand","vcpu":"192"}},
  "B":{"sku":"B","productFamily":"Compute Instance","attributes":{"regionCode":"us-east-2","instanceType":"hpc7a.96xlarge","operatingSystem":"Windows","tenancy":"Shared","capacitystatus":"Used","preInstalledSw":"NA"}},
  "C":{"sku":"C","productFamily":"Compute Instance","attributes":{"regionCode":"us-east-2","instanceType":"hpc7a.96xlarge","operatingSystem":"Linux","tenancy":"Shared","capacitystatus":"UnusedCapacityReservation","preInstalledSw":"NA"}},
  "D":{"sku":"D","productFamily":"Storage","attributes":{"regionCode":"us-east-2","volumeApiName":"gp3"}},
  "E":{"sku":"E","productFamily":"Compute Instance","attributes":{"regionCode":"us-east-2","instanceType":"free.large","operatingSystem":"Linux","tenancy":"Shared","capacitystatus":"Used","preInstalledSw":"NA"}}},
 "terms":{"OnDemand":{
  "A":{"A.J":{"priceDimensions":{"A.J.6":{"unit":"Hrs","pricePerUnit":{"USD":"7.2000000000"}}}}},
  "B":{"B.J":{"priceDimensions":{"B.J.6":{"unit":"Hrs","pricePerUnit":{"USD":"16.0"}}}}},
  "C":{"C.J":{"priceDimensions":{"C.J.6":{"unit":"Hrs","pricePerUnit":{"USD":"9.0"}}}}},
  "D":{"D.J":{"priceDimensions":{"D.J.6":{"unit":"GB-Mo","pricePerUnit":{"USD":"0.0800000000"}}}}},
  "E":{"E.J":{"priceDimensions":{"E.J.6":{"unit":"Hrs","pricePerUnit":{"USD":"0.0000000000"}}}}}}}}"#;

#[test]
fn of_aws_s_list_only_what_a_pool_buys_counts() {
    let i = import(BULK, Form::Json).expect("reads");
    assert_eq!(hourly(&i, "hpc7a.96xlarge", Market::OnDemand), Some(7_200_000));
    assert_eq!(hourly(&i, "free.large", Market::OnDemand), None, "AWS lists USD 0 where it has no price");
    assert_eq!(i.prices.ebs_gib_month["us-east-2"], MicroUsd(80_000));
    assert_eq!((i.passed_over, i.prices.source.as_str()), (3, "AWS price list 2026-09-01T00:00:00Z"));
    let bad = import(&BULK.replace("7.2000000000", "7,2"), Form::Json).expect_err("no amount");
    assert!(bad[0].text.starts_with("A: pricePerUnit.USD"), "{bad:?}");
}

#[test]
fn what_the_command_line_client_prints_is_read_too() {
    let one = r#"{"product":{"productFamily":"Compute Instance (bare metal)","attributes":{"regionCode":"us-east-2","instanceType":"c6in.metal","operatingSystem":"Linux","tenancy":"Shared"}},"terms":{"OnDemand":{"X.J":{"priceDimensions":{"X.J.6":{"unit":"Hrs","pricePerUnit":{"USD":"8.1648"}}}}}},"publicationDate":"2026-09-01"}"#;
    let list = serde_json::json!({"FormatVersion": "aws_v1", "PriceList": [one]}).to_string();
    let i = import(&list, Form::Json).expect("reads");
    assert_eq!(hourly(&i, "c6in.metal", Market::OnDemand), Some(8_164_800));
    let list = format!("{{\"PriceList\":[{one}]}}");
    assert_eq!(import(&list, Form::Json).expect("as values").prices, i.prices);
    assert!(import(r#"{"PriceList":["{"]}"#, Form::Json).expect_err("cut")[0].text.contains("PriceList[0]"));
    let none = import(r#"{"PriceList":[]}"#, Form::Json).expect_err("empty");
    assert!(none[0].text.contains("no price"), "{none:?}");
}
