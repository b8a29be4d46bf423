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
        "Give an `.ell`, `.onnx`, `.tflite` or `.eir` file. `ellc run` and `ellc bench` take "
        "compiled libraries, too.",
    ),
    ErrorCode(
        "E703",
        "A file, folder or standard output cannot be written",
        "A folder is missing, the system does not permit it, the disk is full, or standard output "
        "is full or closed.",
        "Check folder and permissions; free some space, or set `TMPDIR` for temporary files.",
    ),
    ErrorCode(
        "E704",
        "An option has no meaning for this format",
        "`--outputs`, `--shape`, `--set` or `--layout` was given for a format that has no such "
        "choice.",
        "Leave the option out; the report says which formats take it.",
    ),
    ErrorCode(
        "E705",
        "Library and manifest do not belong together",
        "The JSON file in the folder of a library is missing, damaged, or of another compile.",
        "Keep the files of one `ellc compile` together, or give the model itself.",
    ),
    ErrorCode(
        "E706",
        "This needs the model, not a library",
        "The reference and the times of single layers need information that only the model file "
        "holds.",
        "Give the model file instead of the library.",
    ),
    ErrorCode(
        "E707",
        "Only the device can time this library",
        "The library is for another machine, and times under an emulator mean nothing.",
        "Give the device with `--ssh`, or compile `demo.c` there and run it with `--bench`.",
    ),
    ErrorCode(
        "E708",
        "Layers are timed on one thread",
        "`ellc bench --layers` was given with `--threads`.",
        "Leave out `--threads`.",
    ),
    ErrorCode(
        "E709",
        "Labels do not fit",
        "No output has as many classes as the file of `ellc compile --labels` has names.",
        "Give one name per line, in the order of the classes. A background class needs a name, "
        "too.",
    ),
    ErrorCode(
        "E711",
        "Impossible preprocessing",
        "Options or metadata would turn pixels into infinities, NaN, or the same number for every "
        "pixel; or the metadata hold something that is not a number.",
        "Give `--range`, `--mean` and `--scale`; an option replaces the value in the metadata.",
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
        "A picture or an option of preprocessing was given, but no input of the network has the "
        "shape of a picture.",
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
        "Preprocessing is for one input, but a picture fits several inputs of the network.",
        "Leave out the options, and prepare the inputs as `.npy` files.",
    ),
    ErrorCode(
        "E719",
        "The network already contains its preprocessing",
        "Options of preprocessing were given for a library or network that takes pixels.",
        "Leave out `--pixels`, `--color`, `--range`, `--mean`, `--scale` and `--resize`.",
    ),
    ErrorCode(
        "E720",
        "A `.npy` file cannot be read",
        "The file is damaged, or holds anything but one array of numbers.",
        "Write it with `numpy.save`.",
    ),
    ErrorCode(
        "E721",
        "An array has another shape than the input",
        "The shape of a given array is not the shape of the network's input.",
        "`ellc inspect` prints the shapes of the inputs.",
    ),
    ErrorCode(
        "E722",
        "Values do not fit the input's element type",
        "An input of integers was given numbers that its type cannot hold.",
        "Convert the array first; for an 8-bit input, round and clip.",
    ),
    ErrorCode(
        "E723",
        "Wrong number of input files",
        "The number of given files is not the number of the model's inputs.",
        "Give one file for each input, in the order that the report shows.",
    ),
    ErrorCode(
        "E724",
        "Several input files cannot be used",
        "More than one of the given files cannot be used.",
        "The report has a line for each file that says what is wrong with it.",
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
        "`ellc zoo` was given an unknown name, or that of a gallery page with too little "
        "information.",
        "`ellc zoo list` shows all names.",
    ),
    ErrorCode(
        "E741",
        "Not a width",
        "The width is not a number above 0 and at most 1.",
        "For example `1/16` or `0.5`.",
    ),
    ErrorCode(
        "E742",
        "Models cannot be written with this suffix",
        "`-o` names a file of a format that cannot be written, or not for this network.",
        "The report names the suffixes: `.ell` or `.eir`.",
    ),
    ErrorCode(
        "E743",
        "Facts of networks cannot be used",
        "A file in `ellc/zoo/facts` is invalid; the report lists every problem.",
        "Each line names the file, the entry and the problem.",
    ),
    ErrorCode(
        "E744",
        "Weights do not fit a network",
        "The file of `--weights` cannot be read, or its tensors are not those of the network.",
        "The report lists missing and superfluous tensors with their shapes. Check that the file "
        "belongs to this network at this width. Tensors are matched by role, shape and order, not "
        "by name.",
    ),
    ErrorCode(
        "E750",
        "No such node to explain",
        "`ellc explain --node` was given a name that no layer, value or kernel has.",
        "The report lists similar names; `ellc explain MODEL` lists all nodes.",
    ),
    ErrorCode(
        "E751",
        "This level shows one node",
        "Kernels, LLVM IR and assembly are shown for one node, but no node was named.",
        "Name one with `--node NAME`; the report lists the nodes that cost most.",
    ),
    ErrorCode(
        "E760",
        "A tuning file cannot be read",
        "The file given with `--tuning` is damaged, or not a tuning file; the report says where.",
        "Write it anew with `ellc tune`.",
    ),
    ErrorCode(
        "E761",
        "Kernels cannot be measured for this target",
        "The target of `ellc tune` is not this machine, and it has no cycle model.",
        "Run `ellc tune --target host` on the device itself, or set ELLC_CYCLE_TOOL.",
    ),
    ErrorCode(
        "E770",
        "Not a data set",
        "`ellc evaluate` does not know the layout of the data at the path of `--data`.",
        "The report lists the known layouts. For a flat folder of pictures give `--truth FILE`.",
    ),
    ErrorCode(
        "E771",
        "A data set is damaged",
        "The labels do not fit the samples, a file ends early, or a picture cannot be read.",
        "The report names the file or the line. Get the data again, or remove the damaged part.",
    ),
    ErrorCode(
        "E772",
        "A network has several inputs or outputs",
        "`ellc evaluate` gives a sample to the only input and reads the scores from the only "
        "output.",
        "Fix the other inputs with `--set INPUT=VALUE`; choose the output with `--outputs NAME`.",
    ),
    ErrorCode(
        "E773",
        "A package for `ellc evaluate` is not installed",
        "`--vs onnxruntime`, `--vs litert`, `--workers` and `--scheduler` need a package each.",
        "Install it with the command in the report.",
    ),
    ErrorCode(
        "E774",
        "Processes that call a network died",
        "Something killed them, or so many need too much memory; or the Dask cluster of "
        "`--scheduler` cannot be reached.",
        "Start again with fewer processes: `--jobs 1`. Answers in a journal are not lost.",
    ),
    ErrorCode(
        "E775",
        "Not a journal of this evaluation",
        "The file of `--journal` belongs to another model, other data or other options, or is not "
        "a journal.",
        "Name another file.",
    ),
    ErrorCode(
        "E780",
        "Results of a gallery cannot be used",
        "A file given to `ellc gallery` is no result, or contradicts another one; the report lists "
        "every problem of every file.",
        "Each line names the file and the value. The guide's page of the gallery describes them.",
    ),
    ErrorCode(
        "E781",
        "Commands of a gallery's results failed",
        "`ellc gallery measure` runs the commands recorded in results; some failed, are not among "
        "those that are run, or do not print their figure.",
        "Each line names the file, the command and the problem. Run it by hand in the result's "
        "folder.",
    ),
)
