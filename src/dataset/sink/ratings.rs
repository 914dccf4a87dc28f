/// The ratings of FineVision, each by the measure of the same name, in the order of its columns.
pub const RATINGS: [&str; 4] =
    ["relevance", "visual_dependency", "image_correspondence", "formatting"];
