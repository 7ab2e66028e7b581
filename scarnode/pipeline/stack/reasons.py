"""Why a series is, or is not, analysed: every code, what it means, and what an admin can do."""

_SITE = "If it is late enhancement, add its SeriesDescription to site_accept."

REASONS: dict[str, str] = {
    # accepted
    "LGE_SHORT_AXIS": "Short-axis late enhancement: it was analysed.",
    "SITE_ACCEPT": "Its SeriesDescription matches site_accept: it was analysed whatever the rules say.",
    # review: not processed, a person may decide
    "UNCERTAIN": f"Some evidence of late enhancement, not enough (review_score to accept_score). {_SITE}",
    "INVERSION_TIME": (
        f"Evidence of late enhancement, but the inversion time does not fit (inversion_time_min, _long). {_SITE}"
    ),
    "NAME_UNCERTAIN": f"Its name says late enhancement and another method; the detail names that method. {_SITE}",
    "PLANE_UNCERTAIN": (
        "Late enhancement 35 to 50 degrees from the usual short axis. Neither its name nor a cine of the "
        f"study says short axis. {_SITE}"
    ),
    "NOT_PARALLEL": (
        "Late enhancement, but the slices are not parallel to each other or to a stack of the same series. No volume "
        "can be computed. Send the slices of one planning."
    ),
    "FEW_SLICES": "One or two slices beside a stack of the same study, which was analysed instead.",
    "PSIR_REFUSED": (
        "Only phase-sensitive images came and accept_psir_only is off. Send the magnitude images, or turn it on."
    ),
    # rejected: not this kind of image
    "SITE_REJECT": "Its SeriesDescription matches site_reject. Change that setting if it should be analysed.",
    "NOT_MR": "Not MR (results, reports, other modalities). Nothing to do.",
    "SOP_CLASS": (
        "MR, but not an MR Image, Enhanced MR Image or Legacy Converted Enhanced MR Image (e.g. a secondary "
        "capture). Send the original images."
    ),
    "NOT_GRAYSCALE": "SamplesPerPixel is not 1 (a colour picture). Send the original images.",
    "BURNED_IN": (
        "BurnedInAnnotation is YES: drawn lines or letters would be measured as signal. Send the original images."
    ),
    "SCREEN_SAVE": "ImageType says screen picture, not the image itself. Send the original images.",
    "REFORMATTED": (
        "ImageType says computed from other slices (MPR, projection). Send the original images; "
        "site_accept forces it, at your risk."
    ),
    "PARAMETRIC_MAP": "ImageType says parametric map (T1, T2, ECV). Nothing to do.",
    "PHASE_IMAGE": (
        "The phase or the imaginary part of the signal. Nothing to do if magnitude or phase-sensitive images came "
        "too; else send those."
    ),
    "LOOK_LOCKER": f"Its name says Look-Locker or TI scout. {_SITE}",
    "SCOUT": f"Its name says localizer, scout or survey. {_SITE}",
    "MAPPING": f"Its name says parametric mapping. {_SITE}",
    "CINE": f"Its name says cine. {_SITE}",
    "PERFUSION": f"Its name says perfusion. {_SITE}",
    "EDEMA": f"Its name says oedema imaging (STIR, T2-weighted). {_SITE}",
    "EARLY_ENHANCEMENT": f"Its name says early gadolinium enhancement. {_SITE}",
    "DARK_BLOOD": (
        "Its name says dark-blood (black-blood) late enhancement. The network was not trained for this contrast. "
        "Send bright-blood images; site_accept forces it, at your risk."
    ),
    "BEFORE_CONTRAST": f"Its name says before contrast. {_SITE}",
    "OTHER_METHOD": f"Its name says another method (flow, tagging, angiography, projection, subtraction). {_SITE}",
    "MANY_INVERSION_TIMES": (
        "Several inversion times at one location, in one series or in a series for each: a TI scout or a T1 mapping "
        f"source. {_SITE}"
    ),
    "MANY_PHASES": f"More images at one location than max_phases: a cine, perfusion or repeated measurements. {_SITE}",
    "SPIN_ECHO": f"ScanningSequence (EchoPulseSequence) says spin echo. {_SITE}",
    "LONG_ECHO": f"The echo time is longer than max_echo_time. {_SITE}",
    "NOT_LGE": f"Too little evidence of late enhancement (less than review_score). {_SITE}",
    "NOT_SHORT_AXIS": (
        "Late enhancement, but not in a short-axis plane. Nothing to do if a short-axis stack came too. For "
        "unusual anatomy set short_axis_x, _y, _z."
    ),
    # rejected: damaged or unusable
    "NO_GEOMETRY": (
        "ImagePositionPatient, ImageOrientationPatient or PixelSpacing is missing. Send the original images, not "
        "an export."
    ),
    "BAD_GEOMETRY": "Position, orientation or pixel spacing hold impossible values. Send the original images.",
    "BAD_SIZE": "Rows or Columns are absent, 0 or larger than 4096. Send the original images.",
    "INCONSISTENT_FRAMES": "NumberOfFrames does not agree with the described frames. Send the instance again.",
    "INCONSISTENT_PIXELS": (
        "The compressed pixel data have another size than Rows and Columns. They were not decoded. Send the instance "
        "again."
    ),
    "NO_PIXEL_DATA": "The image has no pixels. Send the instance again.",
    "TRUNCATED_PIXEL_DATA": "Pixel data are cut off. Send the instance again.",
    "CONFLICTING_CONTENT": (
        "Two different images came under one SOP Instance UID, or one image under two patients: both are kept, "
        "neither was used. Find out which is right. Delete the other from the spool (`scarnode series files` names "
        "it), then send an image again."
    ),
    "TOO_MANY_SLICES": "More slices than max_slices. Send a stack of at most 40 slices.",
    "TOO_MANY_STACKS": (
        "More than 100 late-enhancement stacks in one study: not what a scanner makes. Send the study alone."
    ),
    "TOO_MANY_PIXELS": (
        "The slices have more than 67 million pixels together. Send the original images, not enlarged ones."
    ),
    "PATIENT_MISMATCH": (
        "Images of different patients came under one Study Instance UID: all are kept, none was used, nothing is sent "
        "for either patient. Find out whose study it is. Have the other patient's images sent under their own UID, and "
        "take them out of this study (`scarnode series files` names them, `scarnode series take-out` moves them away)."
    ),
    # rejected: another image of the same acquisition was analysed
    "PSIR_TWIN": (
        "Phase-sensitive (or real) images of an acquisition whose magnitude images were analysed. Nothing to do."
    ),
    "MOCO_TWIN": "A motion-corrected average beside an uncorrected stack, which was analysed. Nothing to do.",
    "INCOMPLETE_TWIN": (
        "Less than half of the slices of another image of the same acquisition, which was analysed. Send the missing "
        "slices."
    ),
    "DUPLICATE_RECONSTRUCTION": "Another reconstruction of an acquisition that was analysed. Nothing to do.",
    "DERIVED_COPY": ("A derived or lossily compressed copy of images that were analysed. Nothing to do."),
    "SUPERSEDED_REPEAT": "Its locations were imaged again later; the later images were analysed. Nothing to do.",
    # segmentations and results that came back
    "CORRECTION": "A person's segmentation of a stack that was analysed: a revised report was made from it.",
    "CORRECTION_WAITS": (
        "A segmentation with this node's segment codes, but no analysed stack holds the images that it names. It is "
        "kept, and used when the images come: send them."
    ),
    "CORRECTION_REFUSED": (
        "A segmentation with this node's segment codes that can not be measured; the detail says why. Save it again as "
        "a new object, complete and on the images' own grid."
    ),
    "AUTOMATIC_SEG": (
        "A segmentation of another program with this node's segment codes (SegmentAlgorithmType AUTOMATIC). Kept; "
        "nothing to do."
    ),
    "FOREIGN_SEG": "A segmentation of other findings. Kept; nothing to do.",
    "OWN_RESULT": "A result of this node that was sent back to it. Never analysed; nothing to do.",
    # files that are no usable DICOM (StackSearch.unreadable)
    "NOT_DICOM": "The file is not a DICOM file. Send DICOM Part 10 files.",
    "UNREADABLE": (
        "The file can not be opened, or was removed from the spool. Check the file and its rights; send it again."
    ),
    "TRUNCATED_HEADER": "The file ends inside its header. Send the instance again.",
    "DAMAGED_HEADER": "The header can not be parsed. Send the instance again.",
    "BAD_UID": (
        "An SOP instance, study or series UID holds other characters than digits and dots. Have the sender corrected."
    ),
    "OVERSIZED": (
        "Its header holds more than any image needs (500 000 elements, 200 000 items, 64 levels of sequences, 1 MiB "
        "in a text), or its deflated dataset is larger than 256 MiB. It was not read. Find out what sent it."
    ),
    "NO_UID": "The header lacks an SOP instance, study or series UID. Have the sender corrected.",
    # the whole study, by the node
    "SEARCH_FAILED": (
        "The study could not be searched for stacks: a fault of scarnode, named in the detail. Report it. To search "
        "again, send the study again."
    ),
}
