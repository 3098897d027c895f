//! The server's state of an upload.

use crate::{
    client::Client,
    error::Error,
    v1::{GetUploadRequest, GetUploadResponse, Upload, UploadResult},
};

const REJECTIONS_PAGE_SIZE: i32 = 1000;

/// The state of an upload.
pub(super) async fn get_upload(client: &Client, upload_id: &str) -> Result<Upload, Error> {
    let page = get_page(client, upload_id, 1, String::new()).await?;
    Ok(page.upload.into_option().unwrap_or_default())
}

/// The rejected events of the chunks from `first_sequence` on.
pub(super) async fn get_rejections(
    client: &Client,
    upload_id: &str,
    first_sequence: i64,
) -> Result<Vec<UploadResult>, Error> {
    let mut rejections = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = get_page(client, upload_id, REJECTIONS_PAGE_SIZE, page_token).await?;
        rejections.extend(page.rejections.into_iter().filter(|item| item.chunk_sequence >= first_sequence));
        if page.next_page_token.is_empty() {
            return Ok(rejections);
        }
        page_token = page.next_page_token;
    }
}

async fn get_page(
    client: &Client,
    upload_id: &str,
    page_size: i32,
    page_token: String,
) -> Result<GetUploadResponse, Error> {
    let request = GetUploadRequest {
        account_id: client.account_id().to_owned(),
        upload_id: upload_id.to_owned(),
        page_size,
        page_token,
        ..Default::default()
    };
    Ok(client.ingest().get_upload(request).await?.into_inner())
}
