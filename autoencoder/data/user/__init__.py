"""A user's images: find the sources, read them, account for them, decide.

1. **Find** (`find`): a path becomes a list of sources; `pairs` does it for tables and arrays,
   `places` for pictures. `formats` says which reader a file needs, by its first bytes. A new format
   is a reader, its first bytes, and an entry in `find.READERS`.
2. **Read** (`tables`, `parquet`, `arrays`, `pictures`): readers yield batches of values of any
   shape and type, bounded in bytes, and know nothing of ranges, inks, splits or sizes.
3. **Account** (`account`): facts about each image, for every rule and every message.
4. **Decide** (`decide`): what the images mean, or a refusal with the readings and how to choose.

`images` runs the steps in a row. Each rule is decided by one function:

| rule | function |
|---|---|
| which files are of a system or an editor | `data.names.is_visible` |
| which files are about the data, or there twice | `formats.is_company`, `formats.is_unpacked` |
| what a file is, and what to do if it cannot be read | `formats.identify` |
| which split a file, array or directory is | `roles.split_of`, `roles.splits_of_directories` |
| which arrays are images and which are labels, by name | `roles.role_of` |
| which images and labels belong together | `pairs.add_sources` |
| what the class of a picture is | `places.add_sources`, `places._name_pictures` |
| whether directories are classes or splits | `places._unwrapped`, `places._classes` |
| whether a first line is a header, and what columns are | `columns.names_in`, `columns.assign` |
| in which order pixels are | `columns._order_pixels` |
| which axis counts images, and which one channels | `arrays._image_axes` |
| grey of colours, and of transparent pictures | `fit.to_grey`, `fit.is_ink_dark` |
| how an image becomes 28x28 | `fit.fit_images` |
| which value is white, and what would be almost black | `decide.find_white`, `decide.check_dark` |
| which images are inverted | `decide.inversion` |
| how labels are written, and which are refused | `account.tidy_label`, `data.table.label_fault` |
| which labels are suspicious | `decide.check_labels` |
| which images are constant, or there twice | `decide.check_constant`, `decide.check_copies` |
| which words of a column name a split | `decide.check_splits` |
| which images are for testing, if there is no split | `decide.draw_test_rows` |
"""
