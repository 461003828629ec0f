"""Names and descriptions of the goals, without the imports of the scores (for help and completion)."""

HEAD, FEW_SHOT, FINETUNE = "head", "few-shot", "finetune"

GOAL_NAMES = (HEAD, FEW_SHOT, FINETUNE)

HEAD_ACCURACY, FEW_SHOT_ACCURACY = "head_accuracy", "few_shot_accuracy"

ACCURACY_OF = {
    HEAD_ACCURACY: "a retrained linear head",
    FEW_SHOT_ACCURACY: "the nearest of class means of 5 images",
}
"""The classifier that each expected accuracy refers to, by score name."""

TRUST = {
    HEAD: "In a study of 7 image sets the first of 8 models was within a point of the best in 68 % of trials with 100 "
    "images and 81 % with 300.",
    FEW_SHOT: "In a study of 7 image sets the first of 8 models was within a point of the best in 81 % of trials with "
    "100 images and 91 % with 300.",
    FINETUNE: "Little is known of this order: of 8 networks fine-tuned on 100 images, its first lost 0 to 2 points on "
    "three image sets and 42 on a fourth (weighted tau 0.1 to 0.6).",
}
"""Reliability of the order for each goal, measured by tests/studies/default_order."""
