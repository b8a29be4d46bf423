/* A camera at /dev/video7, for a program that this is preloaded into: YUYV frames from the file named
 * by FAKE_CAMERA, of FAKE_COLUMNS x FAKE_ROWS, one after the other; then it is unplugged. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int camera = -1, frames, given, queued[64], waiting;
static unsigned columns, rows, buffers;
static unsigned char *film, *memory;

static size_t frame_bytes(void) { return (size_t)columns * rows * 2; }
static size_t buffer_bytes(void) { return (frame_bytes() + 4095) / 4096 * 4096; }

int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    struct stat status;
    va_list rest;
    va_start(rest, flags);
    if (strcmp(path, "/dev/video7"))
        return real(path, flags, va_arg(rest, int));
    columns = (unsigned)atoi(getenv("FAKE_COLUMNS"));
    rows = (unsigned)atoi(getenv("FAKE_ROWS"));
    int file = real(getenv("FAKE_CAMERA"), O_RDONLY);
    fstat(file, &status);
    film = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    frames = (int)((size_t)status.st_size / frame_bytes());
    return camera = memfd_create("camera", 0);
}

int ioctl(int file, unsigned long request, ...)
{
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    if (file != camera)
        return real(file, request, argument);
    if (request == VIDIOC_S_FMT) {
        struct v4l2_format *format = argument;
        format->fmt.pix.width = columns;
        format->fmt.pix.height = rows;
        format->fmt.pix.bytesperline = columns * 2;
        if (getenv("FAKE_MJPEG"))
            format->fmt.pix.pixelformat = V4L2_PIX_FMT_MJPEG;
    } else if (request == VIDIOC_REQBUFS) {
        buffers = ((struct v4l2_requestbuffers *)argument)->count;
        if (ftruncate(camera, (off_t)(buffers * buffer_bytes())))
            return -1;
        memory = mmap(NULL, buffers * buffer_bytes(), PROT_WRITE, MAP_SHARED, camera, 0);
    } else if (request == VIDIOC_QUERYBUF) {
        struct v4l2_buffer *buffer = argument;
        buffer->length = (unsigned)buffer_bytes();
        buffer->m.offset = (unsigned)(buffer->index * buffer_bytes());
    } else if (request == VIDIOC_QBUF) {
        queued[waiting++ % 64] = (int)((struct v4l2_buffer *)argument)->index;
    } else if (request == VIDIOC_DQBUF) {
        struct v4l2_buffer *buffer = argument;
        if (given == frames || given == waiting) {
            errno = ENODEV;
            return -1;
        }
        buffer->index = (unsigned)queued[given % 64];
        memcpy(memory + buffer->index * buffer_bytes(), film + given * frame_bytes(), frame_bytes());
        given++;
    }
    return 0;
}
