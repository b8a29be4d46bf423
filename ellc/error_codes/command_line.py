"""E7: command line, pictures and arrays."""

from __future__ import annotations

from ellc.error_codes.row import ErrorCode

ROWS = (
    ErrorCode(
        "E701",
        "A file cannot be read",
        "The model or library does not exist, or the system refuses to read it.",
        "Check the path. For a folder of compiled files, name the library in it.",
    ),
    ErrorCode(
        "E702",
        "Not a model file",
        "Neither the content nor the name of the file belongs to a format that ellc reads.",
        "Give an `.ell`, `.onnx`, `.tflite` or `.eir` file. `ellc run` and `ellc bench` also "
        "accept compiled libraries.",
    ),
    ErrorCode(
        "E703",
        "A file, folder or standard output cannot be written",
        "A folder is missing, the user may not write there, the disk is full, or standard output "
        "is full or closed.",
        "Check the folder and its permissions, free some space, or choose another folder for "
        "temporary files with `TMPDIR`.",
    ),
    ErrorCode(
        "E704",
        "An option cannot be used with this format",
        "`--outputs`, `--shape`, `--set` or `--layout` was given for a format to which it does "
        "not apply.",
        "Leave out the option; the report says with which formats it can be used.",
    ),
    ErrorCode(
        "E705",
        "Library and manifest do not belong together",
        "The JSON file in the folder of a library is missing, is damaged, or belongs to another "
        "library.",
        "Keep the files of one `ellc compile` together, or give the model itself.",
    ),
    ErrorCode(
        "E706",
        "This needs the model, not a library",
        "The command runs the reference interpreter or measures single layers. Only a model file "
        "has the information for this.",
        "Give the model file instead of the library.",
    ),
    ErrorCode(
        "E707",
        "Only the device can time this library",
        "The library is for another machine, and an emulator does not show how fast it is there.",
        "Name the device with `--ssh`, or compile `demo.c` on the device and run it with "
        "`--bench`.",
    ),
    ErrorCode(
        "E708",
        "Layers are timed on one thread",
        "`ellc bench --layers` was given with more than one thread.",
        "Leave out `--threads`.",
    ),
    ErrorCode(
        "E709",
        "The labels do not fit the network",
        "The file given with `ellc compile --labels` has N names, but no output has N classes.",
        "Write one name per line, in the order of the classes. A background class also needs a "
        "name.",
    ),
    ErrorCode(
        "E711",
        "Impossible preprocessing",
        "The options or the model's metadata would turn pixels into infinities or NaN, or turn "
        "all pixels into the same number; or a value in the metadata is not a number.",
        "Give `--range`, `--mean` and `--scale`: an option replaces the value in the metadata.",
    ),
    ErrorCode(
        "E713",
        "No such input file",
        "A picture, `.npy` file or file of labels does not exist.",
        "Check the path.",
    ),
    ErrorCode(
        "E714",
        "No input takes a picture",
        "A picture or a preprocessing option was given, but no input of the network has the shape "
        "of a picture.",
        "Give the values as a `.npy` file (`numpy.save`).",
    ),
    ErrorCode(
        "E715",
        "A picture cannot be read",
        "The file is not a picture in a known format, is damaged, or has too many pixels.",
        "Give a PNG, JPEG, BMP, GIF, WebP or PPM file; scale large pictures down first.",
    ),
    ErrorCode(
        "E717",
        "Several inputs take pictures",
        "Preprocessing options apply to one input, but several inputs of the network have the "
        "shape of a picture.",
        "Leave out the options, and prepare the inputs as `.npy` files.",
    ),
    ErrorCode(
        "E719",
        "The network already contains its preprocessing",
        "Preprocessing options were given for a library or network that preprocesses pixels "
        "itself.",
        "Leave out `--pixels`, `--color`, `--range`, `--mean`, `--scale`, `--resize` and "
        "`--preprocess`.",
    ),
    ErrorCode(
        "E720",
        "A `.npy` file cannot be read",
        "The file is damaged, or its content is not one array of numbers.",
        "Write it with `numpy.save`.",
    ),
    ErrorCode(
        "E721",
        "The shape of an array does not fit",
        "An array has another shape than the network's input.",
        "Use the shapes that `ellc inspect` prints.",
    ),
    ErrorCode(
        "E722",
        "Values do not fit the input's element type",
        "An array for an integer input has numbers that the input's type cannot hold.",
        "Convert the array first; for an 8-bit input, round and clip.",
    ),
    ErrorCode(
        "E723",
        "Wrong number of input files",
        "The command needs one file for each input of the model, but got more or fewer files.",
        "Give one file for each input, in the order that the report shows.",
    ),
    ErrorCode(
        "E724",
        "Several input files cannot be used",
        "At least two of the given files cannot be used.",
        "The report has a line for each of these files and says what is wrong.",
    ),
    ErrorCode(
        "E730",
        "A file of labels cannot be read",
        "The file is not readable, or not UTF-8 text.",
        "Write one label per line in UTF-8.",
    ),
    ErrorCode(
        "E740",
        "No such network in the zoo",
        "`ellc zoo` was given an unknown name, or the name of a network that cannot be built, as "
        "its page in ELL's gallery does not list all layers.",
        "`ellc zoo list` shows all names.",
    ),
    ErrorCode(
        "E741",
        "Invalid width",
        "The width must be a number above 0 and at most 1.",
        "Give a number such as `1/16` or `0.5`.",
    ),
    ErrorCode(
        "E742",
        "Models cannot be written with this suffix",
        "The suffix of the file after `-o` is not that of a format that ellc can write, or this "
        "network cannot be written in that format.",
        "Use one of the suffixes in the report, such as `.eir`.",
    ),
    ErrorCode(
        "E743",
        "Facts about a network cannot be used",
        "A file in `ellc/zoo/facts` is invalid.",
        "Correct the entries: the report has a line with file, entry and problem for each.",
    ),
    ErrorCode(
        "E744",
        "Weights do not fit a network",
        "The file given with `--weights` cannot be read, or its tensors are not those of the "
        "network.",
        "Check that the file belongs to this network at this width. The report lists missing and "
        "superfluous tensors with their shapes. Tensors are matched by role, shape and order, not "
        "by name.",
    ),
    ErrorCode(
        "E750",
        "No such node to explain",
        "No layer, value or kernel has the name given with `ellc explain --node`.",
        "Use a name from `ellc explain MODEL`, which lists all nodes; the report lists similar "
        "names.",
    ),
    ErrorCode(
        "E751",
        "This level shows only one node",
        "Kernels, LLVM IR and assembly are shown for one node, but no node was named.",
        "Name a node with `--node NAME`; the report lists the most expensive nodes.",
    ),
    ErrorCode(
        "E760",
        "A tuning file cannot be read",
        "The file given with `--tuning` is damaged or is not a tuning file.",
        "Write the file again with `ellc tune`; the report says what is wrong.",
    ),
    ErrorCode(
        "E761",
        "Kernels cannot be measured for this target",
        "The target of `ellc tune` is not this machine, and there is no cycle model for it.",
        "Run `ellc tune --target host` on the device itself, or set ELLC_CYCLE_TOOL.",
    ),
    ErrorCode(
        "E770",
        "Not a data set",
        "The data given with `--data` have no layout that ellc knows.",
        "Use one of the layouts in the report. For `ellc evaluate`, a flat folder of pictures also "
        "needs `--truth FILE`.",
    ),
    ErrorCode(
        "E771",
        "A data set is damaged",
        "The labels do not fit the samples, a file ends early, or a picture cannot be read.",
        "Get the data again, or remove the damaged file or line, which the report names.",
    ),
    ErrorCode(
        "E772",
        "A network has several inputs or outputs",
        "`ellc evaluate` needs a network with one input, for the sample, and one output, with the "
        "scores.",
        "Give the other inputs a constant value with `--set INPUT=VALUE`, and choose the output "
        "with `--outputs NAME`.",
    ),
    ErrorCode(
        "E773",
        "A package for an option is not installed",
        "`ellc evaluate` needs a package for each of `--vs onnxruntime`, `--vs litert`, "
        "`--workers` and `--scheduler`; `ellc zoo build` needs one for weights of Keras.",
        "Install it with the command in the report.",
    ),
    ErrorCode(
        "E774",
        "Processes that call a network died",
        "Something killed the processes, often a lack of memory; or the Dask cluster given with "
        "`--scheduler` cannot be reached.",
        "Start again with fewer processes, such as `--jobs 1`. Answers in a journal are not lost.",
    ),
    ErrorCode(
        "E775",
        "Not a journal of this work",
        "The file given with `--journal` belongs to another model, other data or other options, "
        "or is not a journal.",
        "Name another file.",
    ),
    ErrorCode(
        "E780",
        "Results of a gallery cannot be used",
        "A file given to `ellc gallery` is not a valid result, or contradicts another result.",
        "Correct the files: the report has a line with file, value and problem for each. The page "
        "'A gallery of models' of the guide describes the files.",
    ),
    ErrorCode(
        "E781",
        "Commands of a gallery's results failed",
        "`ellc gallery measure` runs the commands recorded in result files. Some commands failed, "
        "are not allowed, or did not print the number that the result file records.",
        "Run each command in the report by hand, in the folder of its result file.",
    ),
    ErrorCode(
        "E790",
        "Nothing to quantise",
        "`ellc quantize` found no convolution or dense layer that computes with floats and has "
        "constant weights; the network may be quantised already. Or all such layers have values "
        "that are NaN or infinite for the given data.",
        "Compile the network as it is, or check that the data are prepared as the network expects.",
    ),
    ErrorCode(
        "E791",
        "Accuracy cannot be measured",
        "`ellc quantize --max-drop` needs labelled data, and a network with a single output, which "
        "has the scores of the classes.",
        "Give data with classes (`--truth FILE` for a folder of pictures), and choose the output "
        "with `--outputs NAME`.",
    ),
)
